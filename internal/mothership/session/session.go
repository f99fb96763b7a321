package session

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
)

// DefaultLife is how long a session lasts. Clients log in again by themselves.
const DefaultLife = time.Hour

// keys knows API keys; *apikey.Service does.
type keys interface {
	// Authenticate returns the principal of the key with this id and secret.
	Authenticate(ctx context.Context, id, secret string) (access.Principal, error)
	// Principal returns the principal of a key as it is now.
	Principal(ctx context.Context, id string) (access.Principal, error)
}

// Options are what a Service works with.
type Options struct {
	Keys keys
	// Key signs: 32 random bytes.
	Key []byte
	// Audience is the base URL of the API: https://host[:port].
	Audience string
	Now      func() time.Time
	// Life of a session; zero is DefaultLife.
	Life time.Duration
}

// Service issues and verifies sessions. It is safe for concurrent use.
type Service struct {
	o      Options
	parser *jwt.Parser
}

// New returns the service, or an error if an option is unusable.
func New(o Options) (*Service, error) {
	if o.Keys == nil || o.Now == nil || len(o.Key) < 32 {
		return nil, errors.New("session: Keys, Now and a Key of 32 bytes are needed")
	}
	o.Audience = strings.TrimSuffix(o.Audience, "/")
	if u, err := url.Parse(o.Audience); err != nil || u.Host == "" || u.Path != "" {
		return nil, fmt.Errorf("session: audience %q is no base URL", o.Audience)
	}
	if o.Life == 0 {
		o.Life = DefaultLife
	}
	return &Service{o: o, parser: jwt.NewParser(
		// The one algorithm we sign with: a token has no say in how it is verified.
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithAudience(o.Audience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithTimeFunc(o.Now),
	)}, nil
}

// Token is a session to be shown to a client.
type Token struct {
	JWT        string
	ValidUntil time.Time
}

// claims are the registered ones and the principal's kind and name.
type claims struct {
	jwt.RegisteredClaims
	Kind access.Kind `json:"kind"`
	Name string      `json:"name,omitempty"`
}

// Exchange logs an API key in. Any wrong id or secret is the same fault.
func (s *Service) Exchange(ctx context.Context, id, secret string) (Token, error) {
	p, err := s.o.Keys.Authenticate(ctx, id, secret)
	if err != nil {
		return Token{}, err
	}
	return s.Issue(p, s.o.Life)
}

// Issue makes a session of p that lasts for validFor.
func (s *Service) Issue(p access.Principal, validFor time.Duration) (Token, error) {
	if p.Kind != access.KindAPIKey || p.ID == "" {
		return Token{}, fmt.Errorf("issue session: a principal of kind %q has none", p.Kind)
	}
	now := s.o.Now()
	until := now.Add(validFor)
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    "api-key", // some clients check it
			Subject:   p.ID,
			Audience:  jwt.ClaimStrings{s.o.Audience},
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(until),
		},
		Kind: p.Kind,
		Name: p.Name,
	}).SignedString(s.o.Key)
	if err != nil {
		return Token{}, fmt.Errorf("sign session: %w", err)
	}
	return Token{JWT: text, ValidUntil: until.Truncate(time.Second)}, nil
}

// Verify returns the principal that a JWT of ours names, with the roles it has
// now. Everything wrong with the JWT or the key is the fault unauthenticated.
func (s *Service) Verify(ctx context.Context, text string) (access.Principal, error) {
	var c claims
	if _, err := s.parser.ParseWithClaims(text, &c, func(*jwt.Token) (any, error) { return s.o.Key, nil }); err != nil {
		message := "unauthorized"
		if errors.Is(err, jwt.ErrTokenExpired) {
			message = "unauthorized: the session has expired"
		}
		return access.Principal{}, fault.Wrap(err, fault.Unauthenticated, "%s", message).WithHint("log in again")
	}
	if c.Kind != access.KindAPIKey {
		return access.Principal{}, fault.New(fault.Unauthenticated, "unauthorized").WithHint("log in again")
	}
	return s.o.Keys.Principal(ctx, c.Subject)
}
