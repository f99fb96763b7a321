package container

import (
	"context"
	"syscall"
	"time"
)

// RunUID and RunGID are the user and group that a run has unless the launcher
// says otherwise. Runner images are built with them.
const (
	RunUID = 1983
	RunGID = 1983
)

// Label marks our containers in an engine. Its value is the ULID; there is no
// other label, since labels can be read by everybody who can reach the engine.
const Label = "spaceport.container"

// Backend runs containers. The calls for one container come in this order:
//
//	Check                                  once, before anything else; repeated freely
//	EnsureImage                            only where Capabilities say Images
//	Create                                 the run directory and all mount sources exist
//	Start                                  exactly once; a second one is a conflict
//	Wait, Inspect, Signal, Kill, Output    any number of times, at the same time
//	Remove                                 from any state; ends what still runs
//
// A launcher that was killed makes a new Backend over the same directory, finds
// its containers with List and goes on from Wait; it must not call Create or
// Start again for a ULID that List names, unless Inspect says that it was never
// started. Kill and Remove may be repeated, and succeed when there is nothing
// left to do. All methods may be called concurrently.
//
// An error that a person can act on is a *fault.Error. A ctx that ends during a
// call ends the call, never the container.
type Backend interface {
	// Name is the setting's value that chooses this backend: "docker", "process".
	Name() string
	// Capabilities tells what this backend can do on this host. It is fixed
	// from construction on.
	Capabilities() Capabilities
	// Check tells whether containers can be run now. Its fault names what is
	// missing and for whom (socket, uid, groups), or which kind of engine this
	// is and why that one is refused.
	Check(ctx context.Context) error
	// EnsureImage resolves an image reference: the local image if there is
	// one, else it is pulled. progress, if not nil, gets short lines for the
	// log, from the calling goroutine.
	EnsureImage(ctx context.Context, ref string, progress func(line string)) (Image, error)
	// Create makes the container without starting it.
	Create(ctx context.Context, spec Spec) error
	// Start runs it and returns once the worker has been executed.
	Start(ctx context.Context, id string) error
	// Wait returns how the container ended, also when that was long ago. No
	// process of it is left when Wait returns. An engine that goes away is
	// waited for until ctx ends. Waiting for a container that does not exist
	// is a not_found fault, for one never started a conflict.
	Wait(ctx context.Context, id string) (Exit, error)
	// Inspect tells a container's state; one that doesn't exist is no error.
	Inspect(ctx context.Context, id string) (Status, error)
	// List names the containers whose run directory is below this backend's
	// own directory, in ULID order, started or not.
	List(ctx context.Context) ([]string, error)
	// Signal sends a signal to the worker (PID 1) alone. A container that
	// isn't running is a conflict.
	Signal(ctx context.Context, id string, sig syscall.Signal) error
	// Kill ends every process of the container, those that left its session
	// included. Use Wait to see that it is done.
	Kill(ctx context.Context, id string) error
	// Remove ends the container and forgets it. The run directory's trees stay.
	Remove(ctx context.Context, id string) error
	// Output returns the last bytes, at most limit, of what the worker itself
	// wrote to its standard streams: for telling why a worker didn't come up.
	// It is untrusted text. The log of a run does not come this way.
	Output(ctx context.Context, id string, limit int) ([]byte, error)
	// Own gives a tree of the run directory to the run's user, or takes it
	// away for deletion, whoever the launcher is.
	Own(ctx context.Context, o Ownership) error
	// Close lets go of connections. Containers stay.
	Close() error
}

// Capabilities is what a backend can do on this host.
type Capabilities struct {
	// Isolated: the run cannot see the host's files, processes or the launcher.
	Isolated bool
	// SurvivesLauncher: a container goes on when its launcher is killed.
	SurvivesLauncher bool
	// Images: runs use a runner image. Without it EnsureImage changes nothing.
	Images bool
	// MountAt: Mount.Target and Mount.ReadOnly are kept. Without it the worker
	// sees the host's own paths, see Path.
	MountAt bool
	// OwnUID: Spec.UID and Spec.GID are kept. Without it the worker, and every
	// file it makes, belongs to the launcher's own user.
	OwnUID bool
	// Limits: Spec.Memory and Spec.Pids are kept and Exit.OOM is told.
	Limits bool
}

// Path is where the worker finds a mount.
func (c Capabilities) Path(m Mount) string {
	if c.MountAt {
		return m.Target
	}
	return m.Source
}

// Image is a resolved runner image.
type Image struct {
	// ID is what to put into Spec.Image: content-addressed, so the reference
	// may move meanwhile. It is empty where there are no images.
	ID string
	// Ref is the reference that was asked for.
	Ref string
	// Digest is the registry's digest ("sha256:…"), or "" for an image that no
	// registry knows, such as one imported here.
	Digest string
	// OS and Arch are in Go's spelling ("linux", "amd64").
	OS, Arch string
	// Pulled is true when this call fetched it.
	Pulled bool
}

// Mount is one tree or file that the worker sees. All mounts are fixed before
// the container starts.
type Mount struct {
	// Source is the absolute host path. Unless Operator is set it must be
	// below the backend's directory, since an engine beside us may see no
	// other path of this host at the same place.
	Source string
	// Target is the absolute path in the container.
	Target string
	// ReadOnly: the worker cannot write there.
	ReadOnly bool
	// Operator marks a mount from the launcher's own settings, the only kind
	// that may lie elsewhere. Nothing that came from a job may set it.
	Operator bool
}

// Spec describes a container. It has no environment on purpose: what it holds
// can be read by everybody who can reach the engine.
type Spec struct {
	// ULID names the container and its run directory.
	ULID string
	// Image is Image.ID as EnsureImage returned it.
	Image string
	// RunDir is the run directory's host path: the backend's directory, then
	// the ULID. Backends keep their own notes in RunDir/private.
	RunDir string
	// Binary is the host path of our static binary, below the backend's data
	// directory. It becomes the only process that is started; what the image
	// says about entry point, command, user and health check is not used. In
	// the container it is found at wire.ContainerBinary.
	Binary string
	// Args are the worker's arguments after argv[0].
	Args []string
	// WorkDir is the working directory as the worker sees it; "/" if empty.
	WorkDir string
	// Mounts beside the binary. Parents come before what lies inside them.
	Mounts []Mount
	// UID and GID of the worker. The image's user database needn't have them.
	UID, GID int
	// Network is the engine's network by name; "bridge" if empty.
	Network string
	// Runtime is the engine's runtime by name, such as "runsc"; its default if
	// empty.
	Runtime string
	// Memory is a limit in bytes, Pids one in processes; 0 is none.
	Memory, Pids int64
}

// Exit is how a container ended.
type Exit struct {
	// Code is the worker's exit code; 128+n where signal n ended it, and -1 if
	// Lost.
	Code int
	// Signal is the name of the signal that ended it ("SIGKILL"), or "". An
	// engine only tells a code, so a worker that exits by itself with a code
	// above 128 looks the same there.
	Signal string
	// OOM: the kernel ended it for want of memory.
	OOM bool
	// Lost: it is certain that it has ended and unknown how, as after a reboot.
	Lost bool
	// Err is what the engine said when the worker could not be executed at
	// all, such as a binary for another architecture.
	Err string
	// Finished is when it ended by the host's clock; zero if unknown.
	Finished time.Time
}

// Status is a container's state.
type Status struct {
	// Exists: Create has happened and Remove has not.
	Exists bool
	// Started: Start has happened, whatever came of it.
	Started bool
	// Running: a process of it is there.
	Running bool
	// Exit is meaningful when Started and not Running.
	Exit Exit
}

// Ownership is an order about a tree below a run directory.
type Ownership struct {
	// Dir is the tree's absolute host path, below the backend's directory.
	Dir string
	// UID and GID are the owner to set, on the tree's root and all in it.
	// Links are changed themselves, never followed.
	UID, GID int
	// Delete empties the tree instead; the directory itself stays.
	Delete bool
	// Image and Binary are for a launcher that is neither root nor the owner: a
	// helper container of that image runs that binary's "own" subcommand, which
	// must be own.Main, without a network.
	Image, Binary string
}
