package wire

// LogURL is where a chunk of log may be PUT. Its key carries run, attempt, state
// version and chunk, so that a stale attempt overwrites nothing.
type LogURL struct {
	StateVersion int    `json:"state_version"`
	Chunk        int    `json:"chunk"`
	URL          string `json:"url"`
	ExpiresInMs  int64  `json:"expires_in_ms"`
}

// LogCommit says that a chunk has been stored.
type LogCommit struct {
	StateVersion int    `json:"state_version"`
	Chunk        int    `json:"chunk"`
	Offset       int64  `json:"offset"` // bytes before it in the state's log
	Length       int64  `json:"length"`
	SHA256       string `json:"sha256"` // hex
}

// LogClose says that a state's log is complete.
type LogClose struct {
	StateVersion int    `json:"state_version"`
	Bytes        int64  `json:"bytes"`
	SHA256       string `json:"sha256"` // hex, of the whole
	// Lost is how many bytes the launcher gave up; the reader is told.
	Lost int64 `json:"lost,omitempty"`
}

// LogUpdate travels with every call about an attempt.
type LogUpdate struct {
	Commits []LogCommit `json:"commits,omitempty"`
	Closes  []LogClose  `json:"closes,omitempty"`
	// Want asks for this many more URLs of a state version.
	Want             int `json:"want,omitempty"`
	WantStateVersion int `json:"want_state_version,omitempty"`
	WantFrom         int `json:"want_from,omitempty"` // first chunk number
}

// LogsRequest is a LogUpdate on its own.
type LogsRequest struct {
	Logs LogUpdate `json:"logs"`
}

// LogsAnswer tells how far each state's log is committed.
type LogsAnswer struct {
	Committed map[int]int64 `json:"committed"` // bytes by state version
	URLs      []LogURL      `json:"urls,omitempty"`
	Watched   bool          `json:"watched"`
}
