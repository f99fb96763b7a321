package pool

import "context"

// Flush does what Run does each second.
func (s *Service) Flush(ctx context.Context) error { return s.flush(ctx) }
