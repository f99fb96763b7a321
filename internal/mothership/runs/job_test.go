package runs

import (
	"testing"

	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func TestOnlyAJobThatFetchesHasACredential(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		job  wire.Job
		want bool
	}{
		"a plan":                        {wire.Job{Class: run.Read, Phases: []string{"init", "plan", "apply"}}, true},
		"an apply on the same worker":   {wire.Job{Class: run.Write, Phases: []string{"init", "plan", "apply"}}, false},
		"an apply after a pause":        {wire.Job{Class: run.Write, Phases: []string{"init", "plan", "apply"}, Parked: &wire.Parked{}}, false},
		"a task's init":                 {wire.Job{Class: run.Read, Phases: []string{"init", "perform"}}, true},
		"a task without init":           {wire.Job{Class: run.Write, Phases: []string{"perform"}}, true},
		"a task's command, after init":  {wire.Job{Class: run.Write, Phases: []string{"init", "perform"}}, false},
		"a plan again, after its pause": {wire.Job{Class: run.Read, State: run.PreparingReplan, Phases: []string{"init", "plan", "apply"}}, true},
	} {
		if got := fetches(&c.job); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
