package session_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/session"
)

// everybody knows one key.
type everybody struct{}

func (everybody) Authenticate(_ context.Context, id, _ string) (access.Principal, error) {
	return everybody{}.Principal(context.Background(), id)
}

func (everybody) Principal(_ context.Context, id string) (access.Principal, error) {
	return access.Principal{Kind: access.KindAPIKey, ID: id, Name: "ci", Admin: true}, nil
}

const base = "https://spaceport.example.com"

func key() []byte { return []byte(strings.Repeat("k", 32)) }

func setup(t *testing.T) (*session.Service, *time.Time) {
	t.Helper()
	now := time.Unix(1_800_000_000, 0)
	s, err := session.New(session.Options{Keys: everybody{}, Key: key(), Audience: base, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return s, &now
}

func TestTheAudienceIsTheBaseURLThatClientsGoOnWith(t *testing.T) {
	t.Parallel()
	s, now := setup(t)
	token, err := s.Exchange(context.Background(), "K", "secret")
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token.JWT, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Aud []string `json:"aud"`
		Sub string   `json:"sub"`
		Exp int64    `json:"exp"`
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Aud) != 1 || c.Aud[0] != base || c.Sub != "K" || c.Exp != now.Add(time.Hour).Unix() || token.ValidUntil.Unix() != c.Exp {
		t.Errorf("got %s, valid until %s", payload, token.ValidUntil)
	}
	if strings.Contains(string(payload), "admin") {
		t.Error("the session says what its holder may do")
	}
}

func TestASessionEnds(t *testing.T) {
	t.Parallel()
	s, now := setup(t)
	token, err := s.Exchange(context.Background(), "K", "secret")
	if err != nil {
		t.Fatal(err)
	}
	*now = now.Add(time.Hour - time.Second)
	if _, err := s.Verify(context.Background(), token.JWT); err != nil {
		t.Errorf("just before its end: %v", err)
	}
	*now = now.Add(2 * time.Second)
	if _, err := s.Verify(context.Background(), token.JWT); !fault.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("after its end: %v", err)
	}
}

func TestAForgedSessionIsRefused(t *testing.T) {
	t.Parallel()
	s, now := setup(t)
	claims := func(change func(jwt.MapClaims)) jwt.MapClaims {
		c := jwt.MapClaims{"aud": base, "sub": "K", "kind": "api_key", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix()}
		change(c)
		return c
	}
	same := func(jwt.MapClaims) {}
	for name, test := range map[string]struct {
		method jwt.SigningMethod
		key    any
		change func(jwt.MapClaims)
	}{
		"without a signature":    {jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, same},
		"by another key":         {jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32)), same},
		"by another algorithm":   {jwt.SigningMethodHS512, key(), same},
		"for another audience":   {jwt.SigningMethodHS256, key(), func(c jwt.MapClaims) { c["aud"] = "https://elsewhere.example.com" }},
		"without an audience":    {jwt.SigningMethodHS256, key(), func(c jwt.MapClaims) { delete(c, "aud") }},
		"without an end":         {jwt.SigningMethodHS256, key(), func(c jwt.MapClaims) { delete(c, "exp") }},
		"from the future":        {jwt.SigningMethodHS256, key(), func(c jwt.MapClaims) { c["iat"] = now.Add(time.Hour).Unix() }},
		"of another kind":        {jwt.SigningMethodHS256, key(), func(c jwt.MapClaims) { c["kind"] = "system" }},
		"without a kind":         {jwt.SigningMethodHS256, key(), func(c jwt.MapClaims) { delete(c, "kind") }},
		"with a worker's bearer": {nil, "w1.P.W.1.1.9999999999.mac", same},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, _ := test.key.(string)
			if test.method != nil {
				var err error
				if text, err = jwt.NewWithClaims(test.method, claims(test.change)).SignedString(test.key); err != nil {
					t.Fatal(err)
				}
			}
			if p, err := s.Verify(context.Background(), text); !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("got %+v, %v", p, err)
			}
		})
	}
	good, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims(same)).SignedString(key())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verify(context.Background(), good); err != nil {
		t.Errorf("the pattern of all of these is itself refused: %v", err)
	}
}

func TestTheSystemAndWorkersHaveNoSessions(t *testing.T) {
	t.Parallel()
	s, _ := setup(t)
	for _, p := range []access.Principal{access.System("x"), access.Worker("W"), {}} {
		if _, err := s.Issue(p, time.Hour); err == nil {
			t.Errorf("a session was issued to %+v", p)
		}
	}
}
