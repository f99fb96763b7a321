package supervise

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// What a supervisor answers to its release. Any other text is an error.
const (
	AnswerOK      = "ok"
	AnswerStarted = "started"
)

// Descriptors that a supervisor gets beside the standard ones.
const (
	releaseFD = 3 // one byte: go; its end: the launcher is gone
	answerFD  = 4 // one of the answers, then its end
)

// emptyEnvironment is what processes of ours get: the launcher's own holds the
// pool's private key.
func emptyEnvironment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"}
}

// Supervisor is the launcher's hold on one that waits for its release.
type Supervisor struct {
	cmd          *exec.Cmd
	gate, answer *os.File
}

// Start starts command, which ends up in Main, for a run directory; mounts gives it
// a mount namespace. It prepares everything and waits for its release.
func Start(command []string, runDir string, mounts bool) (*Supervisor, error) {
	out, err := os.OpenFile(Notes{Dir: runDir}.Path(OutputFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	releaseR, releaseW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer releaseR.Close()
	answerR, answerW, err := os.Pipe()
	if err != nil {
		releaseW.Close()
		return nil, err
	}
	defer answerW.Close()

	// No call may end it: it outlives its launcher.
	cmd := exec.CommandContext(context.Background(), command[0], append(command[1:len(command):len(command)], runDir)...)
	cmd.Env, cmd.Dir = emptyEnvironment(), "/"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{releaseR, answerW}
	// A session of its own: a terminal's Ctrl-C or a closed login is for the
	// launcher. No death signal: it outlives a launcher that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if mounts {
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
	if err := cmd.Start(); err != nil {
		releaseW.Close()
		answerR.Close()
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	return &Supervisor{cmd: cmd, gate: releaseW, answer: answerR}, nil
}

// Release lets it start the worker and returns its answer. From then on it
// belongs to nobody.
func (s *Supervisor) Release(ctx context.Context) (string, error) {
	defer s.answer.Close()
	defer s.gate.Close()
	if _, err := s.gate.Write([]byte{'g'}); err != nil {
		_ = s.cmd.Wait() // it has ended: nobody reads
		return "", fmt.Errorf("the supervisor has ended: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.answer.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	b, err := io.ReadAll(io.LimitReader(s.answer, 4096))
	if ctx.Err() != nil {
		_ = s.cmd.Process.Release()
		return "", ctx.Err()
	}
	if err != nil {
		_ = s.cmd.Process.Release()
		return "", fmt.Errorf("hear from the supervisor: %w", err)
	}
	switch string(b) {
	case AnswerOK:
		return AnswerOK, s.cmd.Process.Release()
	case "":
		_ = s.cmd.Wait()
		return "", fmt.Errorf("the supervisor ended without an answer")
	}
	_ = s.cmd.Wait() // with such an answer it ends
	return string(b), nil
}

// Abandon ends one that was not released, as the launcher's death would.
func (s *Supervisor) Abandon() {
	s.gate.Close()
	s.answer.Close()
	_ = s.cmd.Wait()
}
