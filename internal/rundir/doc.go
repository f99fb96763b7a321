// Package rundir reads and writes a run's directory, for both of its sides.
//
//	<data>/<container ULID>/            0711, root or the launcher
//	    private/    0700                the launcher's own notes
//	    in/         read-only inside    job.json, lease, stop, acked, answers/
//	    out/        written inside      log/, events, requests/, result.json, carry.json
//	    workspace/  written inside      the clone and all that the tool makes
//
// The launcher's side is [Dir], the worker's is [Inside].
//
// # Whom we trust
//
// What stands below out/ was written by code that nobody has read. [Dir] takes it
// for bytes and nothing else:
//
//   - a name is opened component by component, each with no-follow, so that no
//     link leads anywhere, not even to another place inside the tree (os.Root
//     alone would follow those);
//   - only a regular file with one link that belongs to the run's user is read:
//     a second link could be another file's, a FIFO would block, a device would act;
//   - every size, count and length has a limit, checked against what was read and
//     not against what a header says;
//   - a log or event file that shrinks, or whose frames don't add up, is corrupt
//     for good: what was read before stays, and the run fails with that reason.
//
// [Inside] trusts in/, which only the launcher can write.
//
// # How files appear
//
// Files appear whole, by writing to a temporary name and renaming. Logs and
// events grow by appending frames (see wire.AppendFrame); a torn tail waits for
// its rest. There are no locks, no memory maps, no FIFOs and no sockets, because a
// sandboxed kernel or a remote file system may not have them. Notification is a
// hint over polling, see [Watcher].
//
// Bytes are in bytes, and positions of a log count payload, without frames.
package rundir
