package quickstart

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// contested is a file in the data directory: while it is there, the stand-in for the
// server has been started and has not tried its ports yet.
const contested = "contested"

// This test binary stands in for the server's when it is called as one.
func init() {
	if len(os.Args) < 2 || os.Args[1] != "server" {
		return
	}
	if err := standIn(os.Args[3], os.Args[5], os.Args[9]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func standIn(data, api, health string) error {
	name := filepath.Join(data, contested)
	if err := os.WriteFile(name+".new", []byte(api+" "+health), 0o600); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(name); err != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := net.Listen("tcp", api); err != nil {
		return err
	}
	l, err := net.Listen("tcp", health)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(data, "addresses.json"), nil, 0o600); err != nil {
		return err
	}
	return http.Serve(l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}

// Of two quickstarts that start at once, one finds ports free that the other is about
// to listen on, and its server ends.
func TestServerWhosePortsWereTakenMeanwhileIsStartedAgainOnOthers(t *testing.T) {
	t.Parallel()
	s, _ := newSession(t, story())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.dir.path("logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.opts.Server, s.opts.After = self, time.After
	s.procs = newFamily(nil, func(err error) { t.Errorf("the end of a server on trial was reported: %v", err) })
	t.Cleanup(s.procs.close)
	stranger := make(chan error, 1)
	var lost string
	go func() {
		stranger <- func() error {
			for try := 0; try < 2; {
				text, err := os.ReadFile(s.dir.path(contested))
				if errors.Is(err, os.ErrNotExist) {
					time.Sleep(time.Millisecond)
					continue
				}
				if err != nil {
					return err
				}
				if try++; try == 1 {
					lost = string(text)
					for _, address := range strings.Fields(lost) {
						l, err := net.Listen("tcp", address)
						if err != nil {
							return err
						}
						server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
						t.Cleanup(func() { _ = server.Close() })
						go server.Serve(l) //nolint:errcheck // ends with the test
					}
				}
				if err := os.Remove(s.dir.path(contested)); err != nil {
					return err
				}
			}
			return nil
		}()
	}()
	said, _, err := s.startServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := <-stranger; err != nil {
		t.Fatal(err)
	}
	if api, _, _ := strings.Cut(lost, " "); s.address.http == api || !strings.Contains(said, s.address.http) {
		t.Errorf("it says %q and goes on with %s, of which a stranger has %s", said, s.address.http, api)
	}
}

func TestServerOnTrialThatWasReliedOnFailsTheQuickstartWhenItEnds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	failed := make(chan error, 1)
	f := newFamily(nil, func(err error) { failed <- err })
	defer f.close()
	spec := shell(dir, "server", "exit 3")
	spec.onTrial = true
	c, err := f.start(spec)
	if err != nil {
		t.Fatal(err)
	}
	<-c.done
	if len(failed) != 0 {
		t.Fatal("its end was reported while it was on trial")
	}
	f.rely(c)
	wantFault(t, <-failed, "exit status 3")
}

func TestStrangerThatIsReadyIsNotOurServer(t *testing.T) {
	t.Parallel()
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(stranger.Close)
	s, _ := newSession(t, story())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// What an earlier start left behind says nothing of this one.
	if err := errors.Join(os.MkdirAll(s.dir.path("logs"), 0o700), os.WriteFile(s.dir.addresses(), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	over, polls := make(chan time.Time), 0
	s.opts.Server, s.opts.After = self, func(d time.Duration) <-chan time.Time {
		if d != pollEvery {
			return over
		}
		if polls++; polls == 3 {
			close(over)
		}
		now := make(chan time.Time, 1)
		now <- time.Time{}
		return now
	}
	s.procs = newFamily(nil, func(error) {})
	t.Cleanup(s.procs.close)
	// The stand-in waits before it opens its ports until its file is gone: for good.
	_, err = s.tryServer(t.Context(), addresses{http: "127.0.0.1:0", mqtt: "127.0.0.1:0", health: stranger.Listener.Addr().String()})
	wantFault(t, err, "the mothership's readiness did not happen")
}
