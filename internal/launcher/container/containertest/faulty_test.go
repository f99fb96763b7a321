package containertest

import (
	"reflect"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/launcher/container"
)

// A method that came later must not go past the moods unseen.
func TestEveryCallThatMayFailCanBeToldTo(t *testing.T) {
	t.Parallel()
	known := map[Call]bool{
		Check: true, EnsureImage: true, Create: true, Start: true, Wait: true, Inspect: true, List: true,
		Signal: true, Kill: true, Remove: true, Output: true, Own: true,
	}
	backend := reflect.TypeFor[container.Backend]()
	for i := range backend.NumMethod() {
		m := backend.Method(i)
		outs := m.Type.NumOut()
		fails := outs > 0 && m.Type.Out(outs-1) == reflect.TypeFor[error]() && m.Name != "Close"
		if fails != known[Call(m.Name)] {
			t.Errorf("%s: may fail %v, can be told to %v", m.Name, fails, known[Call(m.Name)])
		}
	}
}
