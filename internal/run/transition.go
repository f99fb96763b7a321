package run

// Actor is who may cause a move.
type Actor uint8

// The actors. A move may be open to several.
const (
	// Scheduler is the mothership's own queue and its loss and expiry rules.
	Scheduler Actor = 1 << iota
	// Worker is the report of the worker that holds the run's live attempt.
	Worker
	// User is a person or an API key.
	User
)

// moves is the state machine: for each state that has a way out, where to and
// who may cause it. FAILED can follow every state that is not terminal.
//
//	QUEUED ─► READY ─► PREPARING ─► INITIALIZING ─► PLANNING ─► FINISHED
//	             ▲         │             │  │            ├─► PENDING_REVIEW ─► FINISHED
//	             └─────────┴── lost ─────┘  │            ├─► APPLYING (autodeploy)
//	                                        │            └─► UNCONFIRMED
//	                PERFORMING, DESTROYING ◄┘                  │      │
//	                                                           ▼      ▼
//	 APPLYING ◄─ PREPARING_APPLY ◄─ CONFIRMED ◄────────────────┘   REPLAN_REQUESTED
//	                    └── lost ──►    └─► DISCARDED                  │    ▲ lost
//	                                                                   ▼    │
//	                                        PLANNING ◄─────── PREPARING_REPLAN
var moves = map[State]map[State]Actor{
	Queued: {
		Ready:     Scheduler,
		Discarded: User,
		Canceled:  User,
		Skipped:   Scheduler,
		Failed:    Scheduler | User,
	},
	Ready: {
		Queued:    Scheduler, // a blocker came back before a worker was free
		Preparing: Scheduler,
		Discarded: User,
		Canceled:  User,
		Failed:    Scheduler,
	},
	Preparing: {
		Ready:        Scheduler, // not accepted, or lost
		Initializing: Worker,
		Planning:     Worker, // init is skipped
		Performing:   Worker, // init is skipped
		Failed:       Scheduler | Worker,
	},
	Initializing: {
		Ready:      Scheduler, // lost while reading
		Planning:   Worker,
		Performing: Worker,
		Destroying: Worker,
		Stopped:    Scheduler | Worker,
		Failed:     Scheduler | Worker,
	},
	Planning: {
		Ready:         Scheduler, // lost while reading
		Finished:      Worker,
		PendingReview: Worker,
		Unconfirmed:   Worker,
		Applying:      Worker,
		Stopped:       Scheduler | Worker,
		Failed:        Scheduler | Worker,
	},
	PendingReview: {
		Finished:  User,
		Discarded: User,
		Failed:    Scheduler | User,
	},
	Unconfirmed: {
		Confirmed:       User,
		Discarded:       Scheduler | User, // by expiry or by a person
		ReplanRequested: User,
		Failed:          Scheduler | User,
	},
	ReplanRequested: {
		PreparingReplan: Scheduler,
		Failed:          Scheduler,
	},
	PreparingReplan: {
		ReplanRequested: Scheduler,
		Planning:        Worker,
		Failed:          Scheduler | Worker,
	},
	Confirmed: {
		PreparingApply: Scheduler,
		Discarded:      User,
		Failed:         Scheduler,
	},
	PreparingApply: {
		Confirmed: Scheduler,
		Applying:  Worker,
		Failed:    Scheduler | Worker,
	},
	Applying: {
		Finished:   Worker,
		Destroying: Worker, // a module's test destroys even what failed to apply
		Failed:     Scheduler | Worker,
	},
	Performing: {
		Finished: Worker,
		Failed:   Scheduler | Worker,
	},
	Destroying: {
		Finished: Worker,
		Failed:   Scheduler | Worker,
	},
}

// CanMove reports whether a run may go from one state to another at the word of
// an actor.
func CanMove(from, to State, by Actor) bool { return moves[from][to]&by != 0 }

// Next lists the states that from leads to, for whichever actor, in the order
// of States.
func Next(from State) []State {
	var next []State
	for _, to := range States() {
		if moves[from][to] != 0 {
			next = append(next, to)
		}
	}
	return next
}
