// Package e2e tests the product as its users meet it: real binaries as
// processes, a real container engine, real Terraform, real git.
//
// The tests are behind the build tag e2e, since they need `make build`, an
// engine and terraform; `make test` sees to all of it. Nothing of the product is
// called in-process but its formats: the witnesses are GraphQL over HTTP, the
// files on disk, and other people's tools (openssl, age, docker, git).
package e2e
