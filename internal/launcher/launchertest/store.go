package launchertest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func (m *Mothership) urls(x *Run, version, from, n int) []wire.LogURL {
	var urls []wire.LogURL
	for i := from; i < from+n; i++ {
		urls = append(urls, wire.LogURL{StateVersion: version, Chunk: i, URL: m.at.Objects + "/objects/" + logKey(x, version, i), ExpiresInMs: 60_000})
	}
	return urls
}

func logKey(x *Run, version, chunk int) string {
	return fmt.Sprintf("logs/%s/%d/%d/%d", x.Ref.Run, x.Ref.Attempt, version, chunk)
}

func (m *Mothership) wanted(x *Run, u wire.LogUpdate) []wire.LogURL {
	return m.urls(x, u.WantStateVersion, u.WantFrom, u.Want)
}

func (m *Mothership) apply(x *Run, u wire.LogUpdate) {
	for _, c := range u.Commits {
		have := int64(len(x.Text[c.StateVersion]))
		if c.Offset+c.Length <= have {
			continue
		}
		data := m.objects[logKey(x, c.StateVersion, c.Chunk)]
		sum := sha256.Sum256(data)
		if c.Offset != have || int64(len(data)) != c.Length || hex.EncodeToString(sum[:]) != c.SHA256 {
			m.T.Errorf("commit %+v does not fit %d bytes behind %d", c, len(data), have)
			continue
		}
		x.Text[c.StateVersion] = append(x.Text[c.StateVersion], data...)
	}
	for _, c := range u.Closes {
		sum := sha256.Sum256(x.Text[c.StateVersion])
		if c.SHA256 != "" && c.Lost == 0 && int64(len(x.Text[c.StateVersion])) == c.Bytes && c.SHA256 != hex.EncodeToString(sum[:]) {
			m.T.Errorf("the log of state %d has another hash than its close", c.StateVersion)
		}
		x.Closes[c.StateVersion] = c
	}
}

func (m *Mothership) getState(w http.ResponseWriter, r *http.Request) {
	if m.refused(w, r) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	x, _, err := m.find(r)
	if err != nil {
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(wire.Problem{Code: "stale", Message: err.Error()})
		return
	}
	st := m.State(x.Job.Stack.ID)
	w.Header().Set(wire.HeaderSequence, strconv.FormatInt(st.Sequence, 10))
	w.Header().Set(wire.HeaderDigest, st.Digest)
	w.Header().Set(wire.HeaderMode, st.Mode)
	w.Header().Set(wire.HeaderStatement, base64.StdEncoding.EncodeToString(st.Statement))
	w.Header().Set(wire.HeaderSignature, base64.StdEncoding.EncodeToString(st.Signature))
	_, _ = w.Write(st.Body)
}

func (m *Mothership) putState(r *http.Request, body []byte) (any, error) {
	x, _, err := m.find(r)
	if err != nil {
		return nil, err
	}
	st := m.State(x.Job.Stack.ID)
	write := r.PathValue("write")
	if a, again := st.Writes[write]; again {
		if st.Digests[write] != r.Header.Get(wire.HeaderDigest) {
			return nil, fault.New(fault.Conflict, "state write %q was stored with other bytes", write)
		}
		return a, nil
	}
	base, _ := strconv.ParseInt(r.Header.Get(wire.HeaderSequence), 10, 64)
	var a wire.StateAnswer
	if base != st.Sequence || x.Over {
		st.Recovery = append(st.Recovery, body)
		a = wire.StateAnswer{Sequence: st.Sequence, Recovery: true, Reason: "the attempt is over"}
	} else {
		st.Sequence++
		st.Body, st.Digest, st.Mode = body, r.Header.Get(wire.HeaderDigest), r.Header.Get(wire.HeaderMode)
		st.Statement, _ = base64.StdEncoding.DecodeString(r.Header.Get(wire.HeaderStatement))
		st.Signature, _ = base64.StdEncoding.DecodeString(r.Header.Get(wire.HeaderSignature))
		a = wire.StateAnswer{Sequence: st.Sequence}
	}
	st.Writes[write], st.Digests[write] = a, r.Header.Get(wire.HeaderDigest)
	return a, nil
}
