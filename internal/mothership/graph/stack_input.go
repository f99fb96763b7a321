package graph

import (
	"strings"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/graph/gen"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// stackInput is what a client asks of a stack. A field that would have no effect
// in this version is refused by name, unless it says what happens anyway.
func stackInput(in gen.StackInput) (stack.Input, error) {
	if err := refuse(in); err != nil {
		return stack.Input{}, err
	}
	settings := stack.Settings{
		Repository: in.Repository, RepositoryURL: text(in.RepositoryURL), Branch: in.Branch,
		ProjectRoot: strings.TrimSuffix(text(in.ProjectRoot), "/"), RunnerImage: text(in.RunnerImage),
		Description: text(in.Description), Labels: in.Labels, Hooks: hooks(in),
		Autodeploy: yes(in.Autodeploy), ProtectFromDeletion: yes(in.ProtectFromDeletion),
		NoRetryLost: in.RetryLost != nil && !*in.RetryLost,
		Namespace:   text(in.Namespace), Provider: string(gen.VCSProviderGithub),
		GithubActionDeploy:          yes(in.GithubActionDeploy),
		EnableSensitiveOutputUpload: yes(in.EnableSensitiveOutputUpload),
		VCSIntegration:              text(in.VcsIntegrationID), GitSparseCheckoutPaths: in.GitSparseCheckoutPaths,
	}
	if in.Provider != nil {
		settings.Provider = string(*in.Provider)
	}
	if err := vendor(in.VendorConfig, &settings); err != nil {
		return stack.Input{}, err
	}
	out := stack.Input{Name: in.Name, Space: text(in.Space), Pool: text(in.WorkerPool), Settings: settings}
	if in.StateMode != nil {
		out.StateMode = stateModes[*in.StateMode]
	}
	return out, nil
}

var stateModes = map[gen.StateMode]string{
	gen.StateModeManaged:  wire.StateManaged,
	gen.StateModeSealed:   wire.StateSealed,
	gen.StateModeExternal: wire.StateExternal,
}

// refuse names the first field that asks for something that is not there yet.
// Three fields are taken though nothing reads them, since clients always send
// them and their effect is already what they ask for, or safer: githubActionDeploy
// and provider name integrations that no stack has yet, and sensitive outputs are
// never uploaded, whatever enableSensitiveOutputUpload allows.
func refuse(in gen.StackInput) error {
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"additionalProjectGlobs", len(in.AdditionalProjectGlobs) > 0},
		{"administrative", yes(in.Administrative)},
		{"autoretry", yes(in.Autoretry)},
		{"localPreviewEnabled", yes(in.LocalPreviewEnabled)},
	} {
		if field.set {
			return unsupported("StackInput." + field.name)
		}
	}
	if scheme, _ := wire.RepositoryHost(in.Repository); text(in.RepositoryURL) == "" && scheme == "" {
		provider := gen.VCSProviderGithub
		if in.Provider != nil {
			provider = *in.Provider
		}
		return unsupported("StackInput.provider " + string(provider) + " without a repositoryURL").
			WithHint("give provider GIT and the repository's clone URL as repositoryURL")
	}
	return nil
}

// hookFields lists the hooks with where they stand in the API.
func hookFields(in gen.StackInput) map[string][]string {
	return map[string][]string{
		"before_init": in.BeforeInit, "after_init": in.AfterInit,
		"before_plan": in.BeforePlan, "after_plan": in.AfterPlan,
		"before_apply": in.BeforeApply, "after_apply": in.AfterApply,
		"before_perform": in.BeforePerform, "after_perform": in.AfterPerform,
		"before_destroy": in.BeforeDestroy, "after_destroy": in.AfterDestroy,
		"after_run": in.AfterRun,
	}
}

func hooks(in gen.StackInput) map[string][]string {
	set := map[string][]string{}
	for name, commands := range hookFields(in) {
		if len(commands) > 0 {
			set[name] = commands
		}
	}
	return set
}

// vendor reads which tool runs. Without a configuration it is Terraform.
func vendor(in *gen.VendorConfigInput, s *stack.Settings) error {
	if in == nil {
		in = &gen.VendorConfigInput{}
	}
	for _, other := range []struct {
		name string
		set  bool
	}{
		{"ansible", in.Ansible != nil},
		{"cloudFormation", in.CloudFormation != nil},
		{"kubernetes", in.Kubernetes != nil},
		{"pulumi", in.Pulumi != nil},
		{"terragrunt", in.Terragrunt != nil},
	} {
		if other.set {
			return unsupported("StackInput.vendorConfig." + other.name)
		}
	}
	switch {
	case in.Opentofu != nil && in.Terraform != nil:
		return fault.New(fault.Invalid, "vendorConfig names both terraform and opentofu").WithHint("name one")
	case in.Opentofu != nil:
		return openTofu(*in.Opentofu, s)
	case in.Terraform != nil:
		return terraform(*in.Terraform, s)
	}
	return terraform(gen.TerraformInput{}, s)
}

func terraform(in gen.TerraformInput, s *stack.Settings) error {
	if yes(in.ExternalStateAccessEnabled) {
		return unsupported("StackInput.vendorConfig.terraform.externalStateAccessEnabled")
	}
	s.Vendor = stack.Vendor{Name: stack.VendorTerraform, Version: text(in.Version), Workspace: text(in.Workspace)}
	s.SmartSanitization = yes(in.UseSmartSanitization)
	tool := gen.TerraformWorkflowToolTerraformFoss
	if text(in.WorkflowTool) != "" {
		tool = gen.TerraformWorkflowTool(*in.WorkflowTool)
	}
	switch tool {
	case gen.TerraformWorkflowToolTerraformFoss:
	case gen.TerraformWorkflowToolOpenTofu:
		s.Vendor.Name = stack.VendorOpenTofu
	case gen.TerraformWorkflowToolCustom:
		s.Vendor.Name = stack.VendorCustom
	default:
		return fault.New(fault.Invalid, "%q is no workflow tool of Terraform", tool).WithHint("tools are TERRAFORM_FOSS, OPEN_TOFU and CUSTOM")
	}
	s.WorkflowTool = familyTerraform + string(tool)
	return nil
}

func openTofu(in gen.OpenTofuInput, s *stack.Settings) error {
	switch {
	case yes(in.ExternalStateAccessEnabled):
		return unsupported("StackInput.vendorConfig.opentofu.externalStateAccessEnabled")
	case in.Concise != nil && !*in.Concise:
		return unsupported("StackInput.vendorConfig.opentofu.concise false")
	}
	s.Vendor = stack.Vendor{Name: stack.VendorOpenTofu, Version: text(in.Version), Workspace: text(in.Workspace)}
	s.SmartSanitization = in.UseSmartSanitization == nil || *in.UseSmartSanitization
	tool := gen.OpenTofuWorkflowToolOpentofu
	if text(in.WorkflowTool) != "" {
		tool = gen.OpenTofuWorkflowTool(*in.WorkflowTool)
	}
	switch tool {
	case gen.OpenTofuWorkflowToolOpentofu:
	case gen.OpenTofuWorkflowToolCustom:
		s.Vendor.Name = stack.VendorCustom
	default:
		return fault.New(fault.Invalid, "%q is no workflow tool of OpenTofu", tool).WithHint("tools are OPENTOFU and CUSTOM")
	}
	s.WorkflowTool = familyOpenTofu + string(tool)
	return nil
}

// The workflow tool is kept with the family that the client named it in: CUSTOM is
// in both, and clients read back what they wrote.
const (
	familyTerraform = "terraform."
	familyOpenTofu  = "opentofu."
)
