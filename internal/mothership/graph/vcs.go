package graph

import (
	"context"

	"github.com/spaceport-iac/spaceport/internal/mothership/graph/gen"
	"github.com/spaceport-iac/spaceport/internal/mothership/vcs"
)

func (q *query) GitIntegration(ctx context.Context, id string) (*gen.GitIntegration, error) {
	i, err := q.o.VCS.Get(ctx, id)
	return missing(integrationView(i), err)
}

func (q *query) GitIntegrations(ctx context.Context) ([]*gen.GitIntegration, error) {
	all, err := q.o.VCS.List(ctx)
	if err != nil {
		return nil, err
	}
	return each(all, integrationView), nil
}

func (m *mutation) GitIntegrationCreate(ctx context.Context, host string, username, privateToken, sshPrivateKey, knownHosts *string, in gen.CustomVCSInput) (*gen.GitIntegration, error) {
	if err := plainGit("CustomVCSInput", in.UseGitCheckout, in.VcsChecks); err != nil {
		return nil, err
	}
	i, err := m.o.VCS.Create(ctx, vcs.Input{
		Name: in.Name, Space: in.SpaceID, Host: host, Default: yes(in.IsDefault), Labels: in.Labels, Description: text(in.Description),
		Secret: vcs.Secret{Username: text(username), Token: text(privateToken), SSHKey: text(sshPrivateKey), KnownHosts: knownHosts},
	})
	if err != nil {
		return nil, err
	}
	return integrationView(i), nil
}

func (m *mutation) GitIntegrationUpdate(ctx context.Context, username, privateToken, sshPrivateKey, knownHosts *string, isDefault *bool, in gen.CustomVCSUpdateInput) (*gen.GitIntegration, error) {
	if err := plainGit("CustomVCSUpdateInput", in.UseGitCheckout, in.VcsChecks); err != nil {
		return nil, err
	}
	i, err := m.o.VCS.Update(ctx, vcs.Change{
		ID: in.ID, Space: in.Space, Default: isDefault, Labels: in.Labels, Description: in.Description,
		Secret: vcs.Secret{Username: text(username), Token: text(privateToken), SSHKey: text(sshPrivateKey), KnownHosts: knownHosts},
	})
	if err != nil {
		return nil, err
	}
	return integrationView(i), nil
}

func (m *mutation) GitIntegrationDelete(ctx context.Context, id string) (*gen.GitIntegration, error) {
	i, err := m.o.VCS.Delete(ctx, id)
	if err != nil {
		return nil, err
	}
	return integrationView(i), nil
}

// plainGit refuses what other integrations have and git does not.
func plainGit(input string, checkout *bool, checks *string) error {
	switch {
	case checkout != nil && !*checkout:
		return unsupported(input + ".useGitCheckout false")
	case text(checks) != "":
		return unsupported(input + ".vcsChecks")
	}
	return nil
}

func (f *integrationFields) Space(ctx context.Context, obj *gen.GitIntegration) (*gen.Space, error) {
	return f.o.space(ctx, obj.SpaceID)
}

func integrationView(i vcs.Integration) *gen.GitIntegration {
	return &gen.GitIntegration{
		CreatedAt: seconds(i.CreatedAt), Description: some(i.Description), Host: i.Host, ID: i.ID, IsDefault: i.Default,
		KnownHosts: some(i.KnownHosts), Labels: list(i.Labels), Name: i.ID, SpaceID: i.Space, SSHPublicKey: some(i.PublicKey),
		UpdatedAt: seconds(i.UpdatedAt), UseGitCheckout: true, Username: some(i.Username),
	}
}
