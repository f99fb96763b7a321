package access

// RootSpace is the id of the space that every installation has.
const RootSpace = "root"

// Role is what a principal may do in a space. Each role includes the one before.
type Role string

// The roles.
const (
	Reader Role = "reader"
	Writer Role = "writer"
	Admin  Role = "admin"
)

// rank orders roles; an unknown one has no rank and so allows nothing.
func (r Role) rank() int {
	switch r {
	case Reader:
		return 1
	case Writer:
		return 2
	case Admin:
		return 3
	}
	return 0
}

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool { return r.rank() > 0 }

// Action is something that a principal may be allowed to do.
type Action string

// The actions.
const (
	SpaceRead Action = "space:read"

	PoolRead   Action = "pool:read"
	PoolCreate Action = "pool:create"
	PoolUpdate Action = "pool:update"
	PoolDelete Action = "pool:delete"
	PoolReset  Action = "pool:reset"
	PoolCycle  Action = "pool:cycle"

	WorkerDrain Action = "worker:drain"

	StackRead   Action = "stack:read"
	StackCreate Action = "stack:create"
	StackUpdate Action = "stack:update"
	StackDelete Action = "stack:delete"
	StackLock   Action = "stack:lock"
	StackUnlock Action = "stack:unlock"        // one's own lock
	StackForce  Action = "stack:unlock_others" // somebody else's

	RunRead         Action = "run:read"
	RunTrigger      Action = "run:trigger"
	RunConfirm      Action = "run:confirm"
	RunDiscard      Action = "run:discard"
	RunCancel       Action = "run:cancel"
	RunStop         Action = "run:stop"
	RunRetry        Action = "run:retry"
	RunPrioritize   Action = "run:prioritize"
	RunCancelBlock  Action = "run:cancel_blocking" // the same three, of a tracked run or task
	RunStopBlock    Action = "run:stop_blocking"
	RunRetryBlock   Action = "run:retry_blocking"
	TaskCreate      Action = "task:create"
	StateRead       Action = "state:read"
	QuarantineClear Action = "quarantine:clear"

	VCSIntegrationRead   Action = "vcs_integration:read"
	VCSIntegrationCreate Action = "vcs_integration:create"
	VCSIntegrationUpdate Action = "vcs_integration:update"
	VCSIntegrationDelete Action = "vcs_integration:delete"

	APIKeyRead   Action = "apikey:read"
	APIKeyCreate Action = "apikey:create"
	APIKeyDelete Action = "apikey:delete"

	AuditRead Action = "audit:read"
)

// needs is the role table: the least role that may do an action. An action that
// is not listed here is denied to every role.
var needs = map[Action]Role{
	SpaceRead: Reader,

	PoolRead:    Reader,
	PoolCreate:  Admin,
	PoolUpdate:  Admin,
	PoolDelete:  Admin,
	PoolReset:   Admin,
	PoolCycle:   Admin,
	WorkerDrain: Admin,

	StackRead:   Reader,
	StackCreate: Admin,
	StackUpdate: Admin,
	StackDelete: Admin,
	StackLock:   Writer,
	StackUnlock: Writer,
	StackForce:  Admin,

	RunRead:         Reader,
	RunTrigger:      Writer,
	RunConfirm:      Writer,
	RunDiscard:      Writer,
	RunCancel:       Reader,
	RunStop:         Reader,
	RunRetry:        Reader,
	RunPrioritize:   Writer,
	RunCancelBlock:  Writer,
	RunStopBlock:    Writer,
	RunRetryBlock:   Writer,
	TaskCreate:      Writer,
	StateRead:       Admin,
	QuarantineClear: Admin,

	VCSIntegrationRead:   Reader,
	VCSIntegrationCreate: Admin,
	VCSIntegrationUpdate: Admin,
	VCSIntegrationDelete: Admin,

	APIKeyRead:   Admin,
	APIKeyCreate: Admin,
	APIKeyDelete: Admin,

	AuditRead: Admin,
}
