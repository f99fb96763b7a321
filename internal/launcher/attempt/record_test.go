package attempt

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

func TestAJobIsNotedWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	const canary = "c4n4ry"
	job := wire.Job{
		Environment: []wire.Variable{{Name: "A", Value: canary}}, Files: []wire.File{{Path: "a", Content: []byte(canary)}},
		LogURLs: []wire.LogURL{{URL: canary}}, Parked: &wire.Parked{URL: canary},
		Credential: &wire.SourceCredential{Token: canary, SSHKey: canary},
	}
	noted, err := json.Marshal(stripped(job))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(noted), canary) || !strings.Contains(string(noted), `"name":"A"`) {
		t.Errorf("noted is %s", noted)
	}
	if job.Environment[0].Value != canary || job.Credential == nil || job.Parked.URL != canary {
		t.Error("the job itself was changed")
	}
}
