package policy

import (
	"encoding/json"

	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Sample is an input in JSON to try a policy on: a tracked run's plan, about to be
// released.
func Sample() []byte {
	j := &wire.Job{
		Run: "01J000000000000000000000RN", Attempt: 1, Class: run.Read, Type: run.Tracked, State: run.Preparing,
		TriggeredBy: "api::01J000000000000000000000AP", CreatedAt: 1735689600e9, Metadata: []string{"ticket=OPS-1"}, Account: "example",
		Stack:      wire.JobStack{ID: "01J000000000000000000000ST", Slug: "network", Name: "Network", Space: "root", Labels: []string{"env:prod"}},
		Repository: "https://git.example.com/infra/network.git", Branch: "main", ProjectRoot: "live",
		Commit: wire.Commit{SHA: "7d629c6c3f3b6da07e28a87727f0586e577d98c1", Author: "alice", Message: "Update main.tf", Timestamp: 1735689000},
		Vendor: wire.Vendor{Name: "terraform", Version: "1.9.8", Workspace: "default"},
		Files:  []wire.File{{Path: "source/live/extra.tfvars", Content: []byte("a = 1\n")}, {Path: "credentials", Content: []byte("secret"), Secret: true}},
		Store:  wire.JobState{Mode: wire.StateManaged, Sequence: 4, Digest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	}
	all := run.Phases(j.Type, false)
	in := NewInput(j, Facts{
		Stage: Resolved, WorkerVersion: "dev", Image: "registry.example.com/runner:1", Phases: all, NowPhases: run.Share(all, run.Read),
		Hooks: map[string][]string{"before_init": {"echo hello"}},
		Environment: []wire.Variable{
			{Name: "AWS_REGION", Value: "eu-west-1", Source: "stack"},
			{Name: "AWS_SECRET_ACCESS_KEY", Secret: true, Source: "stack"},
			{Name: "HTTPS_PROXY", Source: "launcher"},
		},
	})
	in.Request.TimestampNS = 1735689660e9
	data, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		panic(err) // plain structs
	}
	return data
}
