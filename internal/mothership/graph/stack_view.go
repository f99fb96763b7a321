package graph

import (
	"context"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/graph/gen"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func (o Options) stackView(ctx context.Context, st stack.Stack) *gen.Stack {
	s := st.Settings
	hook := func(name string) []string { return list(s.Hooks[name]) }
	return &gen.Stack{
		AdditionalProjectGlobs: list(s.AdditionalProjectGlobs), Administrative: s.Administrative,
		BeforeInit: hook("before_init"), AfterInit: hook("after_init"),
		BeforePlan: hook("before_plan"), AfterPlan: hook("after_plan"),
		BeforeApply: hook("before_apply"), AfterApply: hook("after_apply"),
		BeforePerform: hook("before_perform"), AfterPerform: hook("after_perform"),
		BeforeDestroy: hook("before_destroy"), AfterDestroy: hook("after_destroy"), AfterRun: hook("after_run"),
		AttachedContexts: []*gen.StackAttachedContext{}, AttachedPolicies: []*gen.StackAttachedPolicy{},
		DependsOn: []*gen.StackDependency{}, IsDependedOnBy: []*gen.StackDependency{},
		Autodeploy: s.Autodeploy, Autoretry: s.Autoretry, Branch: s.Branch,
		CanWrite: o.Auth.Allowed(ctx, access.StackUpdate, st.Space), CreatedAt: seconds(st.CreatedAt),
		Description: some(s.Description), EnableSensitiveOutputUpload: s.EnableSensitiveOutputUpload,
		EnableWellKnownSecretMasking: s.EnableWellKnownSecretMasking, GitSparseCheckoutPaths: list(s.GitSparseCheckoutPaths),
		GithubActionDeploy: s.GithubActionDeploy, ID: st.Slug, Integrations: noIntegrations(), IsDisabled: st.Disabled,
		Labels: list(s.Labels), LocalPreviewEnabled: s.LocalPreview, LockedBy: some(st.LockedBy), LockNote: some(st.LockNote),
		ModuleVersionsUsed: []*gen.ModuleVersion{}, ManagesStateFile: st.StateMode != wire.StateExternal, Name: st.Name, Namespace: some(s.Namespace),
		ProjectRoot: some(s.ProjectRoot), ProtectFromDeletion: s.ProtectFromDeletion, Provider: provider(s),
		Repository: s.Repository, RepositoryURL: some(s.RepositoryURL), RunnerImage: some(s.RunnerImage), Space: st.Space,
		State: gen.StackState(st.State), StateSetAt: optionalSeconds(st.StateSetAt), TerraformVersion: terraformVersion(s),
		TrackedCommit: commitView(st.TrackedCommit), VendorConfig: vendorView(s), Ulid: st.ID,
		StateMode: stateMode(st.StateMode), RetryLost: s.RetryLost(), Pool: st.Pool,
	}
}

// noIntegrations is what a stack without any has: clients look inside without
// asking whether there are some.
func noIntegrations() *gen.Integrations {
	return &gen.Integrations{
		AWS:            &gen.AWSStackIntegration{},
		DriftDetection: &gen.DriftDetectionIntegration{Schedule: []string{}, Timezone: "UTC"},
		GCP:            &gen.GCPStackIntegration{TokenScopes: []string{}},
		Webhooks:       []*gen.WebhooksIntegration{},
	}
}

func provider(s stack.Settings) gen.VCSProvider {
	if p := gen.VCSProvider(s.Provider); p.IsValid() {
		return p
	}
	return gen.VCSProviderGit
}

func stateMode(mode string) gen.StateMode {
	for name, m := range stateModes {
		if m == mode {
			return name
		}
	}
	return gen.StateModeManaged
}

func terraformVersion(s stack.Settings) *string {
	if strings.HasPrefix(s.WorkflowTool, familyOpenTofu) {
		return nil
	}
	return some(s.Vendor.Version)
}

func vendorView(s stack.Settings) gen.StackConfigVendor {
	if tool, ok := strings.CutPrefix(s.WorkflowTool, familyOpenTofu); ok {
		t := gen.OpenTofuWorkflowTool(tool)
		return &gen.StackConfigVendorOpenTofu{
			Concise: true, UseSmartSanitization: s.SmartSanitization, Version: some(s.Vendor.Version),
			WorkflowTool: &t, Workspace: some(s.Vendor.Workspace),
		}
	}
	t := gen.TerraformWorkflowTool(strings.TrimPrefix(s.WorkflowTool, familyTerraform))
	if !t.IsValid() {
		t = map[string]gen.TerraformWorkflowTool{
			stack.VendorOpenTofu: gen.TerraformWorkflowToolOpenTofu,
			stack.VendorCustom:   gen.TerraformWorkflowToolCustom,
		}[s.Vendor.Name]
	}
	if t == "" {
		t = gen.TerraformWorkflowToolTerraformFoss
	}
	return &gen.StackConfigVendorTerraform{
		UseSmartSanitization: s.SmartSanitization, Version: some(s.Vendor.Version),
		WorkflowTool: &t, Workspace: some(s.Vendor.Workspace),
	}
}

func configView(e stack.ConfigElement) *gen.ConfigElement {
	view := &gen.ConfigElement{
		Checksum: e.Checksum, CreatedAt: seconds(e.CreatedAt), Description: some(e.Description), ID: e.ID,
		Type: gen.ConfigType(e.Type), WriteOnly: e.WriteOnly, Warning: some(e.Warning),
	}
	if !e.WriteOnly { // the service leaves it out already; twice is better than once
		view.Value = e.Value
	}
	return view
}
