package workerapi

import (
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/statefile"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func (h *Handler) stateRoutes() {
	h.mux.HandleFunc(below("GET", wire.VerbState), h.caller(h.getState))
	h.mux.HandleFunc(below("PUT", wire.VerbState+"/{write}"), h.caller(h.putState))
	h.mux.HandleFunc(below("PUT", wire.VerbLock), h.caller(func(w http.ResponseWriter, r *http.Request, c statefile.Caller) (any, error) {
		var req wire.LockRequest
		if err := decode(w, r, maxBody, &req); err != nil {
			return nil, err
		}
		return wire.Done{}, h.o.States.Lock(r.Context(), c, req)
	}))
	h.mux.HandleFunc(below("DELETE", wire.VerbLock), h.caller(func(w http.ResponseWriter, r *http.Request, c statefile.Caller) (any, error) {
		var req wire.LockRequest
		if r.ContentLength != 0 {
			if err := decode(w, r, maxBody, &req); err != nil {
				return nil, err
			}
		}
		return wire.Done{}, h.o.States.Unlock(r.Context(), c, req.ID)
	}))
}

// caller is worker for what the state service answers.
func (h *Handler) caller(f func(w http.ResponseWriter, r *http.Request, c statefile.Caller) (any, error)) http.HandlerFunc {
	return h.worker(func(w http.ResponseWriter, r *http.Request, id pool.WorkerIdentity) (any, error) {
		ref, err := attemptOf(r)
		if err != nil {
			return nil, err
		}
		if id.Attempt != nil && *id.Attempt != ref {
			return nil, fault.New(fault.Forbidden, "the bearer is good for attempt %d of run %s alone", id.Attempt.Attempt, id.Attempt.Run)
		}
		return f(w, r, statefile.Caller{Worker: id.Worker, Run: ref.Run, Attempt: ref.Attempt})
	})
}

// getState answers the current state's bytes with headers that describe them, or
// 204 with sequence 0 if there is none.
func (h *Handler) getState(w http.ResponseWriter, r *http.Request, c statefile.Caller) (any, error) {
	st, data, err := h.o.States.Get(r.Context(), c)
	if err != nil {
		return nil, err
	}
	header := w.Header()
	header.Set(wire.HeaderMode, st.Mode)
	header.Set(wire.HeaderSequence, strconv.FormatInt(st.Sequence, 10))
	header.Set(wire.HeaderDigest, st.Digest)
	header.Set("Cache-Control", "no-store")
	if len(st.Statement) > 0 {
		header.Set(wire.HeaderStatement, base64.StdEncoding.EncodeToString(st.Statement))
		header.Set(wire.HeaderSignature, base64.StdEncoding.EncodeToString(st.Signature))
	}
	if st.Sequence == 0 {
		w.WriteHeader(http.StatusNoContent)
		return answered{}, nil
	}
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Content-Length", strconv.Itoa(len(data)))
	if _, err := w.Write(data); err != nil {
		h.o.Log.Debug("a state did not arrive", "run", c.Run, "err", err)
	}
	return answered{}, nil
}

func (h *Handler) putState(w http.ResponseWriter, r *http.Request, c statefile.Caller) (any, error) {
	write := statefile.Write{ID: r.PathValue("write"), Digest: r.Header.Get(wire.HeaderDigest), Mode: r.Header.Get(wire.HeaderMode)}
	var err error
	if write.Base, err = strconv.ParseInt(r.Header.Get(wire.HeaderSequence), 10, 64); err != nil {
		return nil, fault.New(fault.Invalid, "header %s is not a number", wire.HeaderSequence)
	}
	if write.Statement, err = base64.StdEncoding.DecodeString(r.Header.Get(wire.HeaderStatement)); err != nil {
		return nil, fault.New(fault.Invalid, "header %s is not base64", wire.HeaderStatement)
	}
	if write.Signature, err = base64.StdEncoding.DecodeString(r.Header.Get(wire.HeaderSignature)); err != nil {
		return nil, fault.New(fault.Invalid, "header %s is not base64", wire.HeaderSignature)
	}
	return h.o.States.Put(r.Context(), c, write, http.MaxBytesReader(w, r.Body, statefile.MaxSize+1))
}
