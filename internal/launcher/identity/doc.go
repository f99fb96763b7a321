// Package identity is who a launcher is: a numbered slot of its data directory
// that it alone holds, and in it the worker's key.
//
//	<data>/slots/0/lock         flocked while a launcher runs
//	<data>/slots/0/worker.key   P-256, PKCS#8, mode 0600
//	<data>/slots/0/machine      digest of the machine that the key was made on
//	<data>/slots/0/session      the last session number, in decimal
//	<data>/slots/0/runs/        run directories
//
// The worker's id follows from its key, so the key is on disk, synced, before
// the launcher registers: a crash loop makes one worker, not one a loop. A disk
// or image that was copied to another machine makes a new key; a reboot doesn't.
package identity
