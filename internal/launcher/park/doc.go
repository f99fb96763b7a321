// Package park brings a run across the pause between plan and apply: its
// workspace is sealed to the pool, signed for, and opened by another worker of
// the pool, or by nobody.
//
// The archive has two trees. workspace/ is the run's own. carry/ is the launcher's:
// the resolved job, every mask known so far, and the environment's difference from
// what was delivered. It is never a file inside a container, so no code of the
// run could have written it, and an apply takes hooks and commands from there
// alone.
//
// Opening judges before it touches: the signature by one of the launcher's own
// pool keys, each field of the statement against what the signed job and the
// launcher's settings say (the job core among them), the ciphertext's digest and
// size. Only then is a byte decrypted.
package park
