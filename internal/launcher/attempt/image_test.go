package attempt

import (
	"testing"

	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/setting"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// capable is a backend that only tells what it can do.
type capable struct {
	container.Backend
	images bool
}

func (c capable) Capabilities() container.Capabilities {
	return container.Capabilities{Images: c.images}
}

func TestAnImageIsTheJobsOwnOrTheOperatorsForItsVendor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		images              bool
		image, vendor, want string
	}{
		{true, "", "terraform", "default"},
		{true, "", "opentofu", "default"},
		{true, "", "ansible", "for-ansible"},
		{true, "own", "terraform", "own"},
		{true, "own", "ansible", "own"},
		{false, "own", "terraform", ""},
		{false, "", "ansible", ""},
	} {
		r := &Runner{o: Options{Backend: capable{images: c.images}, Settings: &setting.Settings{DefaultImage: "default", DefaultAnsibleImage: "for-ansible"}}}
		if got := r.image(&wire.Job{Image: c.image, Vendor: wire.Vendor{Name: c.vendor}}); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}
