package seal

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"strconv"
)

const jobTitle = "spaceport-job-v1"

// Classes of a job.
const (
	ClassRead  = "read"
	ClassWrite = "write"
)

// JobHeader says for whom a job is. The mothership signs its exact bytes; the
// job itself is sealed to the worker's session and named by its digest.
type JobHeader struct {
	Origin  string // id of the installation
	Pool    string // id of the pool
	Worker  string // id of the one worker it is for
	Session int64  // of that worker
	Nonce   string // of the launcher's request: an older answer does not fit
	Run     string // ULID
	Attempt int64
	Class   string // ClassRead or ClassWrite
	Job     string // digest of the sealed job
	Size    int64  // of the sealed job, in bytes
}

func (h *JobHeader) fields() []line {
	return []line{
		{name: "origin", text: &h.Origin},
		{name: "pool", text: &h.Pool},
		{name: "worker", text: &h.Worker},
		{name: "session", number: &h.Session},
		{name: "nonce", text: &h.Nonce},
		{name: "run", text: &h.Run},
		{name: "attempt", number: &h.Attempt},
		{name: "class", text: &h.Class},
		{name: "job", text: &h.Job},
		{name: "size", number: &h.Size},
	}
}

// Marshal writes the header's fixed lines. Fault: invalid.job_format.
func (h JobHeader) Marshal() ([]byte, error) {
	if h.Class != ClassRead && h.Class != ClassWrite {
		return nil, invalid("job_format", "the job's header cannot be written: class %q is unknown", h.Class)
	}
	if !isDigest(h.Job) {
		return nil, invalid("job_format", "the job's header cannot be written: job is not a sha256 digest")
	}
	data, err := marshalLines(jobTitle, h.fields())
	if err != nil {
		return nil, invalidBy(err, "job_format", "the job's header cannot be written: %s", err)
	}
	return data, nil
}

// ParseJobHeader reads the exact bytes that Marshal wrote and nothing else. It
// checks no signature: see [VerifyJob].
func ParseJobHeader(data []byte) (*JobHeader, error) {
	var h JobHeader
	if err := parseLines(data, jobTitle, h.fields()); err != nil {
		return nil, invalidBy(err, "job_format", "the job's header is malformed: %s", err)
	}
	again, err := h.Marshal()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, invalid("job_format", "the job's header is malformed: it is not in the one form that is signed")
	}
	return &h, nil
}

// SignJob signs a header's exact bytes by the mothership's job key. The title
// line keeps such a signature from meaning anything else.
func SignJob(key ed25519.PrivateKey, header []byte) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("sign job: the job key has %d bytes", len(key))
	}
	return ed25519.Sign(key, header), nil
}

// VerifyJob checks that one of the job keys signed the header, and reads it.
// keys come from a [Bundle] that the root has signed. Faults:
// invalid.job_{signature, format}.
func VerifyJob(keys []ed25519.PublicKey, header, signature []byte) (*JobHeader, error) {
	for _, key := range keys {
		if len(key) == ed25519.PublicKeySize && ed25519.Verify(key, header, signature) {
			return ParseJobHeader(header)
		}
	}
	return nil, invalid("job_signature", "the job is signed by none of the mothership's job keys")
}

// JobExpectation is what a launcher knows of the job it has asked for. Origin,
// Pool, Worker and Nonce must be given.
type JobExpectation struct {
	Origin  string
	Pool    string
	Worker  string
	Session int64
	Nonce   string
	Run     string // unchecked where empty
	Attempt int64  // unchecked where Run is empty
	Class   string // unchecked where empty
}

// Check compares the header with what was asked for. Faults: invalid.job_{origin,
// pool, worker, session, nonce, run, attempt, class}.
func (h JobHeader) Check(want JobExpectation) error {
	if want.Origin == "" || want.Pool == "" || want.Worker == "" || want.Nonce == "" {
		return fmt.Errorf("check job: origin, pool, worker and nonce must be known")
	}
	fields := []struct{ name, got, want string }{
		{"origin", h.Origin, want.Origin},
		{"pool", h.Pool, want.Pool},
		{"worker", h.Worker, want.Worker},
		{"session", strconv.FormatInt(h.Session, 10), strconv.FormatInt(want.Session, 10)},
		{"nonce", h.Nonce, want.Nonce},
	}
	if want.Run != "" {
		fields = append(fields, []struct{ name, got, want string }{
			{"run", h.Run, want.Run},
			{"attempt", strconv.FormatInt(h.Attempt, 10), strconv.FormatInt(want.Attempt, 10)},
		}...)
	}
	if want.Class != "" {
		fields = append(fields, struct{ name, got, want string }{"class", h.Class, want.Class})
	}
	for _, f := range fields {
		if f.got != f.want {
			return invalid("job_"+f.name, "the job is for %s %q, but %s %q is expected", f.name, f.got, f.name, f.want)
		}
	}
	return nil
}

// CheckSealed compares the sealed job with the header. Fault: invalid.job_digest.
func (h JobHeader) CheckSealed(job []byte) error {
	if int64(len(job)) != h.Size || Digest(job) != h.Job {
		return invalid("job_digest", "the sealed job is not the one that its header names")
	}
	return nil
}
