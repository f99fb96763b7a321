package lease

import (
	"reflect"
	"testing"
	"time"
)

func TestScalingReachesEveryDurationOfALease(t *testing.T) {
	t.Parallel()
	whole, half := reflect.ValueOf(Terms{}.Scaled(1)), reflect.ValueOf(Terms{}.Scaled(0.5))
	for i := range whole.NumField() {
		a, b := whole.Field(i).Interface().(time.Duration), half.Field(i).Interface().(time.Duration)
		if a <= 0 || b != a/2 {
			t.Errorf("%s is %v, and %v scaled by a half", whole.Type().Field(i).Name, a, b)
		}
	}
}
