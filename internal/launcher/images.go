package launcher

import (
	"context"
	"time"
)

// lookForUnused is how often unused images are looked for, at most.
const lookForUnused = time.Hour

// imageKeeper is a backend that has images and can remove those it pulled.
type imageKeeper interface {
	RemoveUnusedImages(ctx context.Context, unused time.Duration) (removed []string, err error)
}

// tidyImages removes images that no run has used for long, from time to time and
// beside whatever else goes on: one that a run needs now counts as used.
func (l *loop) tidyImages(ctx context.Context) {
	keeper, ok := l.backend.(imageKeeper)
	retention := l.o.Settings.ImageRetention
	if !ok || retention == 0 || l.o.Now().Sub(l.tidied) < min(lookForUnused, retention) {
		return
	}
	l.tidied = l.o.Now()
	l.spawn(func() {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
		defer cancel()
		removed, err := keeper.RemoveUnusedImages(ctx, retention)
		if len(removed) > 0 {
			l.o.Log.Info("unused images were removed", "images", removed)
		}
		if err != nil && ctx.Err() == nil {
			l.o.Log.Warn("unused images cannot be removed", "err", err)
		}
	})
}
