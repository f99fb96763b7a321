package registry

import (
	"context"
	"encoding/base64"
	"net/http"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/docker/cli/cli/config/types"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// ecrHost is the name of a private registry of Amazon ECR: its account, whether
// it is a FIPS endpoint, its region. public.ecr.aws is not one: it needs no
// credentials.
var ecrHost = regexp.MustCompile(`^(\d{12})\.dkr[.-]ecr(-fips)?\.([a-z0-9-]+)\.(amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu|on\.aws|on\.amazonwebservices\.com\.cn)$`)

type ecrTarget struct {
	host, region string
	fips         bool
}

func ecrRegistry(host string) (ecrTarget, bool) {
	m := ecrHost.FindStringSubmatch(host)
	if m == nil {
		return ecrTarget{}, false
	}
	return ecrTarget{host: host, region: m[3], fips: m[2] != ""}, true
}

// ecrToken exchanges the credentials that this machine has for a registry token.
// It is asked anew for each pull: pulls are rare, and a role may change.
func ecrToken(ctx context.Context, r ecrTarget, by *http.Client) (types.AuthConfig, error) {
	options := []func(*config.LoadOptions) error{config.WithRegion(r.region)}
	if r.fips {
		options = append(options, config.WithUseFIPSEndpoint(aws.FIPSEndpointStateEnabled))
	}
	if by != nil {
		options = append(options, config.WithHTTPClient(by))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return types.AuthConfig{}, noECR(r, err)
	}
	answer, err := ecr.NewFromConfig(cfg).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return types.AuthConfig{}, noECR(r, err)
	}
	for _, data := range answer.AuthorizationData {
		raw, err := base64.StdEncoding.DecodeString(aws.ToString(data.AuthorizationToken))
		if err != nil {
			continue
		}
		if user, password, ok := strings.Cut(string(raw), ":"); ok && password != "" {
			return types.AuthConfig{Username: user, Password: password}, nil
		}
	}
	return types.AuthConfig{}, noECR(r, nil)
}

// noECR keeps the SDK's words for the log: they are many and may hold request ids
// and account names.
func noECR(r ecrTarget, err error) error {
	return fault.Wrap(err, fault.Forbidden, "this worker's AWS credentials give no token for the registry %s", r.host).
		Named("ecr_credentials").WithHint("let the instance's role do ecr:GetAuthorizationToken, or log in with docker login and set SPACELIFT_DOCKER_CONFIG_DIR")
}
