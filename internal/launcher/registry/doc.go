// Package registry finds the credentials that the container engine needs to pull
// an image.
//
// They come from the customer's side alone, in this order:
//
//  1. config.json in the directory that SPACELIFT_DOCKER_CONFIG_DIR names: a
//     credential helper for the registry, else its entry below "auths". The file
//     is read anew for each pull, so that a later "docker login" counts, and
//     nothing here ever writes it.
//  2. For a registry of Amazon ECR: a token for the credentials that this
//     machine has (instance role, environment, profile, web identity).
//  3. None: the image is pulled as anybody could.
//
// What is found goes to the engine in the pull's own header. It is not kept, not
// logged and in no error; what a helper prints when it fails is not shown either,
// since it may be a part of the secret.
package registry
