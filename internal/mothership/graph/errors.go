package graph

import (
	"context"
	"errors"
	"log/slog"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// present turns an error of a resolver into what the client reads: the fault's
// sentence as the message, its code and hint as extensions. Whatever is no fault
// is logged and answered as an internal error that gives nothing away.
func (s *Server) present(ctx context.Context, err error) *gqlerror.Error {
	answer := graphql.DefaultErrorPresenter(ctx, err)
	f := fault.As(err)
	if f == nil {
		if protocol(err) {
			if answer.Extensions["code"] == nil {
				extend(answer, "code", string(fault.Invalid))
			}
			return answer
		}
		if ctx.Err() != nil {
			f = givenUp(ctx)
		} else {
			s.o.Log.ErrorContext(ctx, "an operation failed", slog.String("path", answer.Path.String()), slog.Any("err", err))
			f = fault.Public(err)
		}
	}
	answer.Message = message(f)
	extend(answer, "code", string(f.Code))
	if f.Hint != "" {
		extend(answer, "hint", f.Hint)
	}
	return answer
}

// message is the text of a fault. Public clients print nothing else, so the hint
// is part of it; and they tell a lack of rights by the word "unauthorized".
func message(f *fault.Error) string {
	switch f.Kind {
	case fault.Forbidden:
		return "unauthorized: " + f.Error()
	case fault.NotFound:
		return f.Message
	}
	return f.Error()
}

// protocol reports whether err is about the document or its variables: such an
// error was made by the library and wraps nothing.
func protocol(err error) bool {
	var g *gqlerror.Error
	return errors.As(err, &g) && g.Err == nil
}

func extend(e *gqlerror.Error, key, value string) {
	if e.Extensions == nil {
		e.Extensions = map[string]any{}
	}
	e.Extensions[key] = value
}

// missing turns a not-found fault into an answer of null, which is what clients
// expect of a query for something that is not there.
func missing[T any](v *T, err error) (*T, error) {
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return v, err
}

// unsupported refuses an input that would have no effect.
func unsupported(field string) *fault.Error {
	return fault.New(fault.Unsupported, "%s is not supported in this version", field).WithHint("leave it out")
}
