package park

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

const (
	workspaceTree = "workspace"
	carryTree     = "carry"
	carryFile     = "carry.json"
	maxCarry      = 64 << 20
)

// Carry is what crosses the pause beside the workspace.
type Carry struct {
	V        int                 `json:"v"`
	Core     []string            `json:"core"` // lines of the job core
	Hooks    map[string][]string `json:"hooks"`
	Command  string              `json:"command,omitempty"`
	Targets  []string            `json:"targets,omitempty"`
	Workflow map[string]string   `json:"workflow,omitempty"`
	Set      map[string]string   `json:"set"`
	Unset    []string            `json:"unset"`
	Masks    []string            `json:"masks"`
}

// none is how the wire says that there is no digest.
const none = "none"

func orEmpty(digest string) string {
	if digest == none {
		return ""
	}
	return digest
}

// Parcel is what is known of a workspace that is sealed or opened.
type Parcel struct {
	Key      *seal.PoolKey
	Earlier  []*seal.PoolKey  // for opening
	Recovery []seal.Recipient // for sealing
	Origin   string
	Pool     string
	Stack    string
	Run      string
	Attempt  int64 // for sealing
	Core     seal.Core
	State    string // digest of the state it was planned on; "" is none, or on opening: not compared
	Image    string // registry digest, or ""
}

func (p Parcel) keys() seal.PoolKeys { return append(seal.PoolKeys{p.Key}, p.Earlier...) }

// Sealed is a sealed workspace and who vouches for it.
type Sealed struct {
	Statement  []byte
	Signature  []byte
	Ciphertext string
	Size       int64
}

// Seal packs and seals a workspace into dst. scratch is a directory of the
// launcher's own. skipped is told of what cannot be packed (sockets, devices).
func Seal(ctx context.Context, p Parcel, order wire.ParkOrder, workspace string, c Carry, scratch string, dst *os.File, skipped func(path string, mode fs.FileMode)) (Sealed, error) {
	c.V, c.Core = 1, p.Core.Lines
	data, err := json.Marshal(c)
	if err != nil {
		return Sealed{}, err
	}
	carryDir := filepath.Join(scratch, carryTree)
	if err := os.RemoveAll(carryDir); err != nil {
		return Sealed{}, err
	}
	if err := os.Mkdir(carryDir, 0o700); err != nil {
		return Sealed{}, err
	}
	defer os.RemoveAll(carryDir)
	if err := os.WriteFile(filepath.Join(carryDir, carryFile), data, 0o600); err != nil {
		return Sealed{}, err
	}
	trees, closeTrees, err := roots(workspace, carryDir)
	if err != nil {
		return Sealed{}, err
	}
	defer closeTrees()
	recipients := append([]seal.Recipient{p.Key.Recipient()}, p.Recovery...)
	digest, size, err := seal.SealTree(ctx, dst, trees, seal.PackOptions{Skipped: skipped}, recipients...)
	if err != nil {
		return Sealed{}, fmt.Errorf("seal the workspace: %w", err)
	}
	statement, err := seal.Statement{
		Kind: seal.KindWorkspace, Origin: p.Origin, Pool: p.Pool, Signer: p.Key.Fingerprint(),
		Stack: p.Stack, Run: p.Run, Attempt: p.Attempt, Sequence: order.Sequence, Previous: orEmpty(order.Previous),
		Ciphertext: digest, Size: size, Recipients: seal.Fingerprints(recipients),
		Core: p.Core.Digest(), State: orEmpty(p.State), Image: p.Image,
	}.Marshal()
	if err != nil {
		return Sealed{}, err
	}
	signature, err := p.Key.SignStatement(statement)
	if err != nil {
		return Sealed{}, err
	}
	return Sealed{Statement: statement, Signature: signature, Ciphertext: digest, Size: size}, nil
}

func roots(workspace, carry string) ([]seal.Tree, func(), error) {
	w, err := os.OpenRoot(workspace)
	if err != nil {
		return nil, nil, err
	}
	c, err := os.OpenRoot(carry)
	if err != nil {
		w.Close()
		return nil, nil, err
	}
	return []seal.Tree{{Name: workspaceTree, Root: w}, {Name: carryTree, Root: c}}, func() { w.Close(); c.Close() }, nil
}

// Open judges a downloaded workspace by its statement and what the signed job
// says of it, and only then opens it into an empty directory. It returns what was
// carried and the registry digest of the runner image, if there was one. Faults:
// those of seal.VerifySealed and seal.OpenTree.
func Open(ctx context.Context, p Parcel, parked wire.Parked, blob *os.File, workspace, scratch string, owner *seal.Owner) (Carry, string, error) {
	core, previous := p.Core.Digest(), orEmpty(parked.Previous)
	want := seal.Expectation{
		Kind: seal.KindWorkspace, Origin: p.Origin, Pool: p.Pool, Stack: p.Stack,
		Run: &p.Run, Sequence: &parked.Sequence, Previous: &previous, Core: &core,
		Ciphertext: &parked.Ciphertext, Size: &parked.Size, Recipients: p.keys().Fingerprints(),
	}
	if p.State != "" {
		state := orEmpty(p.State)
		want.State = &state
	}
	statement, err := seal.VerifySealed(parked.Statement, parked.Signature, p.keys().Signers(), want, blob)
	if err != nil {
		return Carry{}, "", err
	}
	carryDir := filepath.Join(scratch, carryTree)
	if err := os.RemoveAll(carryDir); err != nil {
		return Carry{}, "", err
	}
	if err := os.Mkdir(carryDir, 0o700); err != nil {
		return Carry{}, "", err
	}
	defer os.RemoveAll(carryDir)
	trees, closeTrees, err := roots(workspace, carryDir)
	if err != nil {
		return Carry{}, "", err
	}
	defer closeTrees()
	if err := seal.OpenTree(ctx, blob, trees, seal.UnpackOptions{Owner: owner}, p.keys().Identities()...); err != nil {
		return Carry{}, "", err
	}
	f, err := trees[1].Root.Open(carryFile)
	if err != nil {
		return Carry{}, "", fault.Wrap(err, fault.Invalid, "the parked workspace carries no job").Named("carry")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCarry))
	if err != nil {
		return Carry{}, "", err
	}
	var c Carry
	if err := json.Unmarshal(data, &c); err != nil || c.V != 1 {
		return Carry{}, "", fault.New(fault.Invalid, "what the parked workspace carries cannot be read").Named("carry")
	}
	// The statement named the core already; the lines tell what differs, if they
	// do not make the core that was signed.
	if digest := (seal.Core{Lines: c.Core}).Digest(); digest != core {
		return Carry{}, "", fault.New(fault.Invalid, "the parked job core is %s, expected %s", digest, core).Named("seal_core")
	}
	return c, statement.Image, nil
}
