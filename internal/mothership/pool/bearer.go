package pool

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// A bearer is text with a MAC at its end:
//
//	w1.<pool>.<worker>.<session>.<epoch>.<expiry>.<mac>   of a worker
//	a1.<pool>.<worker>.<run>.<attempt>.<expiry>.<mac>     of an attempt
//
// The two kinds differ in their first field, which the MAC covers, so that one
// cannot be read as the other. Expiry is in Unix seconds.
const (
	workerBearer  = "w1"
	attemptBearer = "a1"
	bearerFields  = 7
)

// Bearer issues a worker's bearer.
func (s *Service) Bearer(id WorkerIdentity) Bearer {
	return s.bearer(s.o.BearerFor, workerBearer, id.Pool, id.Worker,
		strconv.FormatInt(id.Session, 10), strconv.FormatInt(id.Epoch, 10))
}

// AttemptBearer issues a bearer that is good for one attempt alone.
func (s *Service) AttemptBearer(id WorkerIdentity, a wire.AttemptRef) Bearer {
	return s.bearer(s.o.AttemptBearerFor, attemptBearer, id.Pool, id.Worker,
		a.Run, strconv.FormatInt(a.Attempt, 10))
}

func (s *Service) bearer(life time.Duration, fields ...string) Bearer {
	text := strings.Join(fields, ".") + "." + strconv.FormatInt(s.o.Now().Add(life).Unix(), 10)
	return Bearer{Text: text + "." + s.bearerMAC(text), For: life}
}

func (s *Service) bearerMAC(text string) string {
	h := hmac.New(sha256.New, s.o.BearerKey)
	h.Write([]byte("spaceport-bearer\n" + text))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// Authenticate returns whom a bearer speaks for. Faults: unauthenticated for one
// that is none, has expired, or is of an older epoch; stale for one of an older
// session. It is on the hot path: it reads memory alone but for the first time.
func (s *Service) Authenticate(ctx context.Context, bearer string) (WorkerIdentity, error) {
	id, err := s.readBearer(bearer)
	if err != nil || id.Attempt != nil {
		// An attempt's bearer is not compared with session and epoch: it is made
		// to outlive both. What it may do is decided by its attempt being live.
		return id, err
	}
	r, err := s.registry.worker(ctx, id.Worker)
	if err != nil {
		return WorkerIdentity{}, err
	}
	if err := r.check(id); err != nil {
		return WorkerIdentity{}, err
	}
	return id, nil
}

func (s *Service) readBearer(bearer string) (WorkerIdentity, error) {
	cut := strings.LastIndexByte(bearer, '.')
	if cut < 0 || !hmac.Equal([]byte(bearer[cut+1:]), []byte(s.bearerMAC(bearer[:cut]))) {
		return WorkerIdentity{}, noBearer()
	}
	f := strings.Split(bearer, ".")
	if len(f) != bearerFields {
		return WorkerIdentity{}, noBearer()
	}
	var numbers [3]int64
	for i, text := range []string{f[3], f[4], f[5]} {
		if i == 0 && f[0] == attemptBearer {
			continue // a run's id
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return WorkerIdentity{}, noBearer()
		}
		numbers[i] = n
	}
	if s.o.Now().Unix() >= numbers[2] {
		return WorkerIdentity{}, fault.New(fault.Unauthenticated, "the bearer has expired").Named("bearer_expired").
			WithHint("the launcher registers again")
	}
	id := WorkerIdentity{Pool: f[1], Worker: f[2]}
	switch f[0] {
	case workerBearer:
		id.Session, id.Epoch = numbers[0], numbers[1]
	case attemptBearer:
		id.Attempt = &wire.AttemptRef{Run: f[3], Attempt: numbers[1]}
	default:
		return WorkerIdentity{}, noBearer()
	}
	return id, nil
}

func noBearer() error {
	return fault.New(fault.Unauthenticated, "the bearer is not one of this installation").Named("bearer").
		WithHint("the launcher registers again")
}
