package run

// State is where a run stands. The names are those of the public API.
type State string

// The states. See transition.go for the moves between them.
const (
	Queued          State = "QUEUED"           // not eligible: something blocks it
	Ready           State = "READY"            // eligible, waits for a worker
	Preparing       State = "PREPARING"        // handed to a worker
	Initializing    State = "INITIALIZING"     // init and its hooks
	Planning        State = "PLANNING"         // plan and its hooks
	PendingReview   State = "PENDING_REVIEW"   // proposed run that needs a review
	Unconfirmed     State = "UNCONFIRMED"      // planned, parked, waits for a person
	ReplanRequested State = "REPLAN_REQUESTED" // waits for a worker to plan again
	PreparingReplan State = "PREPARING_REPLAN" // handed to a worker to plan again
	Confirmed       State = "CONFIRMED"        // confirmed, waits for a worker
	PreparingApply  State = "PREPARING_APPLY"  // handed to a worker to apply
	Applying        State = "APPLYING"
	Performing      State = "PERFORMING" // a task's command
	Destroying      State = "DESTROYING"
	Finished        State = "FINISHED"
	Failed          State = "FAILED"
	Discarded       State = "DISCARDED" // rejected, or its parked workspace expired
	Canceled        State = "CANCELED"  // cancelled before a worker picked it up
	Stopped         State = "STOPPED"   // interrupted while reading
	Skipped         State = "SKIPPED"   // never had to run
)

// Type says what kind of job a run is. The names are those of the public API.
type Type string

// The types.
const (
	Proposed Type = "PROPOSED"
	Tracked  Type = "TRACKED"
	Task     Type = "TASK"
	Testing  Type = "TESTING"
	Destroy  Type = "DESTROY"
)

// Blocking reports whether a run of this type takes its stack for itself from
// its hand-over to its end.
func (t Type) Blocking() bool { return t == Tracked || t == Task || t == Destroy }

// Valid reports whether t is one of the types.
func (t Type) Valid() bool {
	switch t {
	case Proposed, Tracked, Task, Testing, Destroy:
		return true
	}
	return false
}

// States lists all states in the order in which a run may meet them.
func States() []State {
	return []State{
		Queued, Ready, Preparing, Initializing, Planning, PendingReview, Unconfirmed,
		ReplanRequested, PreparingReplan, Confirmed, PreparingApply, Applying,
		Performing, Destroying, Finished, Failed, Discarded, Canceled, Stopped, Skipped,
	}
}

// Valid reports whether s is one of the states.
func (s State) Valid() bool {
	_, known := moves[s]
	return known || s.Terminal()
}

// Terminal reports whether a run in s has ended for good.
func (s State) Terminal() bool {
	switch s {
	case Finished, Failed, Discarded, Canceled, Stopped, Skipped:
		return true
	}
	return false
}

// OnWorker reports whether a run in s is in the hands of a worker.
func (s State) OnWorker() bool {
	switch s {
	case Preparing, Initializing, Planning, PreparingReplan, PreparingApply, Applying, Performing, Destroying:
		return true
	}
	return false
}

// Waiting reports whether a run in s waits for a worker: the demand that an
// autoscaler should see.
func (s State) Waiting() bool { return s == Ready || s == Confirmed || s == ReplanRequested }

// Handover returns the state of a run that has been given to a worker while it
// waited in s, and false if a run in s is not given to a worker.
func (s State) Handover() (State, bool) {
	switch s {
	case Ready:
		return Preparing, true
	case Confirmed:
		return PreparingApply, true
	case ReplanRequested:
		return PreparingReplan, true
	}
	return "", false
}

// Requeued returns the state in which a run waits again after it was lost in s
// before or while reading, and false if what ran in s may have written.
func (s State) Requeued() (State, bool) {
	switch s {
	case Preparing, Initializing, Planning:
		return Ready, true
	case PreparingApply:
		return Confirmed, true
	case PreparingReplan:
		return ReplanRequested, true
	}
	return "", false
}
