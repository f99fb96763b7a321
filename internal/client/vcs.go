package client

import "context"

// GitIntegration is what opens private repositories of a host, without its secret.
type GitIntegration struct {
	ID           string  `json:"id"`
	Host         string  `json:"host"`
	Username     *string `json:"username,omitempty"`
	SSHPublicKey *string `json:"sshPublicKey,omitempty"`
	IsDefault    bool    `json:"isDefault"`
}

// GitIntegrationInput is what one is made from or changed to. Empty strings and nil
// are left out, which changes nothing.
type GitIntegrationInput struct {
	Name, Space, Host, Description string // a host and a name never change
	Username, Token, SSHKey, Hosts string // Hosts: lines of a known_hosts file
	Default                        *bool
}

// GitIntegration returns an integration, or nil if there is none.
func (c *Client) GitIntegration(ctx context.Context, id string) (*GitIntegration, error) {
	var answer struct{ GitIntegration *GitIntegration }
	err := c.Do(ctx, integrationDocument, map[string]any{"id": id}, &answer)
	return answer.GitIntegration, err
}

// GitIntegrations lists the integrations.
func (c *Client) GitIntegrations(ctx context.Context) ([]GitIntegration, error) {
	var answer struct{ GitIntegrations []GitIntegration }
	err := c.Do(ctx, integrationsDocument, nil, &answer)
	return answer.GitIntegrations, err
}

func (in GitIntegrationInput) variables(custom map[string]any) map[string]any {
	all := map[string]any{"custom": custom}
	for name, value := range map[string]string{"username": in.Username, "token": in.Token, "key": in.SSHKey, "known": in.Hosts} {
		if value != "" {
			all[name] = value
		}
	}
	if in.Description != "" {
		custom["description"] = in.Description
	}
	return all
}

// CreateGitIntegration makes an integration.
func (c *Client) CreateGitIntegration(ctx context.Context, in GitIntegrationInput) (*GitIntegration, error) {
	custom := map[string]any{"name": in.Name, "spaceID": in.Space}
	if in.Default != nil {
		custom["isDefault"] = *in.Default
	}
	variables := in.variables(custom)
	variables["host"] = in.Host
	var answer struct{ GitIntegrationCreate *GitIntegration }
	err := c.Do(ctx, createIntegrationDocument, variables, &answer)
	return answer.GitIntegrationCreate, err
}

// UpdateGitIntegration changes an integration; its host stays.
func (c *Client) UpdateGitIntegration(ctx context.Context, in GitIntegrationInput) (*GitIntegration, error) {
	variables := in.variables(map[string]any{"id": in.Name, "space": in.Space})
	if in.Default != nil {
		variables["default"] = *in.Default
	}
	var answer struct{ GitIntegrationUpdate *GitIntegration }
	err := c.Do(ctx, updateIntegrationDocument, variables, &answer)
	return answer.GitIntegrationUpdate, err
}

// DeleteGitIntegration removes an integration that no stack names.
func (c *Client) DeleteGitIntegration(ctx context.Context, id string) error {
	return c.Do(ctx, deleteIntegrationDocument, map[string]any{"id": id}, nil)
}
