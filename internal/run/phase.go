package run

// Phase is a step that a worker executes: hooks, a command, hooks.
type Phase string

// The phases.
const (
	PhaseInit    Phase = "init"
	PhasePlan    Phase = "plan"
	PhaseApply   Phase = "apply"
	PhasePerform Phase = "perform"
	PhaseDestroy Phase = "destroy"
)

// Class says whether what runs may change anything outside its container.
type Class string

// The classes.
const (
	Read  Class = "read"
	Write Class = "write"
)

// Class returns the class of the phase.
func (p Phase) Class() Class {
	switch p {
	case PhaseInit, PhasePlan:
		return Read
	}
	return Write
}

// State returns the state of a run while the phase is executed.
func (p Phase) State() State {
	switch p {
	case PhaseInit:
		return Initializing
	case PhasePlan:
		return Planning
	case PhaseApply:
		return Applying
	case PhasePerform:
		return Performing
	case PhaseDestroy:
		return Destroying
	}
	return ""
}

// Phases returns every phase of a run of this type in order, reading phases
// first. A task may leave out init.
func Phases(t Type, skipInit bool) []Phase {
	switch t {
	case Proposed:
		return []Phase{PhaseInit, PhasePlan}
	case Tracked:
		return []Phase{PhaseInit, PhasePlan, PhaseApply}
	case Task:
		if skipInit {
			return []Phase{PhasePerform}
		}
		return []Phase{PhaseInit, PhasePerform}
	case Testing:
		return []Phase{PhaseInit, PhasePlan, PhaseApply, PhaseDestroy}
	case Destroy:
		return []Phase{PhaseInit, PhaseDestroy}
	}
	return nil
}

// Share returns the phases of one class, in order: what one container executes.
func Share(phases []Phase, c Class) []Phase {
	var share []Phase
	for _, p := range phases {
		if p.Class() == c {
			share = append(share, p)
		}
	}
	return share
}
