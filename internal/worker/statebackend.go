package worker

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// maxState bounds a state, in bytes; the launcher's own limit is the same.
const maxState = 256 << 20

// stateBackend is the tool's http backend on loopback. It keeps nothing: each call
// becomes a request in the run's directory and stays open until the launcher has
// answered it, however long that takes. What ends it is the run's end alone.
//
//	GET    state_get        POST    state_put
//	LOCK   state_lock       UNLOCK  state_unlock
type stateBackend struct {
	inside *rundir.Inside
	class  run.Class
	// empty is set while there is certainly no state: then nobody has to be asked.
	empty    atomic.Bool
	say      func(line string)
	password string
	server   *http.Server
	address  string
	last     atomic.Int64 // number of the last request

	mu  sync.Mutex
	got [sha256.Size]byte // digest of the state last read
	wg  sync.WaitGroup
}

const stateUser = "run"

// startStateBackend listens on a free port of this container.
func startStateBackend(ctx context.Context, inside *rundir.Inside, job *wire.WorkerJob, say func(string)) (*stateBackend, error) {
	secret := make([]byte, 24)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("make the state backend's password: %w", err)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the state backend: %w", err)
	}
	b := &stateBackend{inside: inside, class: job.Class, say: say, password: hex.EncodeToString(secret)}
	b.empty.Store(!job.StateExists)
	b.address = "http://" + listener.Addr().String() + "/state"
	b.server = &http.Server{
		Handler:           b,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	b.wg.Go(func() { _ = b.server.Serve(listener) })
	return b, nil
}

// environment is what the tool needs to find it.
func (b *stateBackend) environment() map[string]string {
	return map[string]string{
		"TF_HTTP_ADDRESS":        b.address,
		"TF_HTTP_LOCK_ADDRESS":   b.address,
		"TF_HTTP_UNLOCK_ADDRESS": b.address,
		"TF_HTTP_USERNAME":       stateUser,
		"TF_HTTP_PASSWORD":       b.password,
	}
}

func (b *stateBackend) close() {
	_ = b.server.Close()
	b.wg.Wait()
}

// ServeHTTP answers the tool.
func (b *stateBackend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Loopback may be shared, where a container has the network of others.
	user, password, _ := r.BasicAuth()
	if subtle.ConstantTimeCompare([]byte(user+":"+password), []byte(stateUser+":"+b.password)) != 1 {
		http.Error(w, "the credentials are not this run's", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxState))
	if err != nil {
		http.Error(w, "the state is too large", http.StatusRequestEntityTooLarge)
		return
	}
	switch r.Method {
	case http.MethodGet:
		b.get(w, r)
	case http.MethodPost:
		b.put(w, r, body)
	case "LOCK", "UNLOCK":
		b.lock(w, r, body)
	default:
		w.Header().Set("Allow", "GET, POST, LOCK, UNLOCK")
		http.Error(w, "the state backend does not know this method", http.StatusMethodNotAllowed)
	}
}

func (b *stateBackend) get(w http.ResponseWriter, r *http.Request) {
	if b.empty.Load() {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	a, body, err := b.ask(r.Context(), wire.Request{Op: wire.OpStateGet}, nil)
	if err == nil && a.Status == http.StatusOK {
		b.mu.Lock()
		b.got = sha256.Sum256(body)
		b.mu.Unlock()
	}
	b.reply(w, "read", a, body, err)
}

func (b *stateBackend) put(w http.ResponseWriter, r *http.Request, body []byte) {
	if b.class != run.Write {
		b.mu.Lock()
		same := b.got == sha256.Sum256(body)
		b.mu.Unlock()
		if same {
			return // nothing changes
		}
		// The launcher would refuse too; here the reader learns why.
		b.reply(w, "written", wire.Answer{
			Status:  http.StatusForbidden,
			Message: "init and plan may not change the state; that is for apply and tasks",
		}, nil, nil)
		return
	}
	if body == nil {
		body = []byte{}
	}
	a, answer, err := b.ask(r.Context(), wire.Request{Op: wire.OpStatePut, Lock: r.URL.Query().Get("ID")}, body)
	if err == nil && a.Status < 300 {
		b.empty.Store(false)
	}
	b.reply(w, "written", a, answer, err)
}

func (b *stateBackend) lock(w http.ResponseWriter, r *http.Request, body []byte) {
	var info struct{ ID string }
	_ = json.Unmarshal(body, &info)
	op, done := wire.OpStateLock, "locked"
	if r.Method == "UNLOCK" {
		op, done = wire.OpStateUnlock, "unlocked"
	}
	a, answer, err := b.ask(r.Context(), wire.Request{Op: op, Lock: info.ID}, body)
	if err == nil && a.Status == http.StatusLocked && len(answer) == 0 {
		// The tool reads the holder from the answer, and fails strangely without.
		// The id is all that it shows of it.
		answer, _ = json.Marshal(map[string]string{"ID": a.Message, "Info": a.Message})
	}
	b.reply(w, done, a, answer, err)
}

// ask writes a request and waits for its answer.
func (b *stateBackend) ask(ctx context.Context, r wire.Request, body []byte) (wire.Answer, []byte, error) {
	r.ID = fmt.Sprintf("%08d", b.last.Add(1))
	if err := b.inside.Request(r, body); err != nil {
		return wire.Answer{}, nil, err
	}
	w := rundir.Watch(filepath.Join(b.inside.In(), wire.InAnswers))
	defer w.Close()
	for {
		a, answer, err := b.inside.Answer(r.ID)
		if !rundir.Missing(err) {
			return a, answer, err
		}
		select {
		case <-ctx.Done():
			return wire.Answer{}, nil, ctx.Err()
		case <-w.C:
		}
	}
}

// reply passes an answer to the tool. Tools print little more than its status, so
// the reason is said in the log too.
func (b *stateBackend) reply(w http.ResponseWriter, done string, a wire.Answer, body []byte, err error) {
	if errors.Is(err, context.Canceled) {
		return // nobody listens any more
	}
	if err != nil {
		a = wire.Answer{Status: http.StatusInternalServerError, Message: err.Error()}
	}
	if a.Status < 200 || a.Status > 599 {
		a.Status = http.StatusInternalServerError
	}
	if a.Status >= 300 && a.Status != http.StatusNotFound {
		b.say(fmt.Sprintf("the state was not %s: %s", done, a.Message))
	}
	if len(body) == 0 && a.Message != "" && a.Status >= 300 {
		body = []byte(a.Message)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.Status)
	if a.Status != http.StatusNoContent {
		_, _ = w.Write(body)
	}
}
