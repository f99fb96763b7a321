// Package seal is everything that Spaceport encrypts, signs or checks, as pure
// functions over bytes and open files: no network, no database, no clock.
//
// # Who holds what
//
// A pool has one RSA key, made by the customer ([ParsePoolKey]). The mothership
// sees only its public half ([ParseCSR]) and answers with a token ([Token]).
// With the private half a launcher opens what its pool has sealed, signs what it
// seals ([PoolKey.SignStatement]), and proves itself ([SignRegistration]).
//
// # What is sealed
//
// A blob is an age file ([Encrypt]); a parked workspace is a zstd-compressed tar
// in one ([SealTree]), a state the plain JSON in one ([SealBytes]). The stock
// age command opens both with the pool's key.
//
// Encryption alone says nothing about origin: whoever has the public key can
// make a valid file. So each blob has a statement beside it, a short text of
// fixed lines ([Statement]), signed by the pool's key over its exact bytes.
// [VerifySealed] checks signature, meaning and ciphertext, in that order, before
// a single byte is decrypted.
//
// # What the mothership signs
//
// A job's header ([JobHeader], Ed25519) names the one worker, session and
// request it answers. The key it is signed with comes in a [Bundle], which the
// installation's root key signs; the root comes in the token.
//
// # Going back in time
//
// A signature proves origin, not freshness. [Marks] remembers the newest
// sequence this launcher has seen of each stack and refuses to go below it.
//
// Errors that a person can act on are faults (package fault) with stable codes
// below "invalid."; none of them repeats key material.
package seal
