package stack

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

const maxSlug = 100

// slugOf makes a slug from a name: lower-case ASCII letters and digits with
// single dashes between words. A name without any of these gives "stack".
func slugOf(name string) string {
	var b strings.Builder
	dash := false
	// Decomposed, an accented letter is the letter and a mark to be left out.
	for _, r := range norm.NFD.String(name) {
		switch {
		case unicode.Is(unicode.Mn, r):
		case r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)):
			if dash && b.Len() > 0 {
				b.WriteByte('-')
			}
			dash = false
			b.WriteRune(unicode.ToLower(r))
		default:
			dash = true
		}
		if b.Len() >= maxSlug {
			break
		}
	}
	if b.Len() == 0 {
		return "stack"
	}
	return b.String()
}

// freeSlug returns the slug for a new stack. One that was asked for must be free;
// one made from the name gets a number if it is not.
func freeSlug(ctx context.Context, q db.Queryer, asked, name string) (string, error) {
	base := asked
	if asked == "" {
		base = slugOf(name)
	} else if asked != slugOf(asked) || len(asked) > maxSlug {
		return "", fault.New(fault.Invalid, "%q cannot be a slug", asked).Named("slug").
			WithHint("use lower-case letters and digits with single dashes between them, as in %s", slugOf(asked))
	}
	for n := 1; ; n++ {
		slug := base
		if n > 1 {
			slug = fmt.Sprintf("%s-%d", base, n)
		}
		var taken bool
		if err := q.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM stack WHERE slug = $1 AND deleted_at IS NULL)`, slug).Scan(&taken); err != nil {
			return "", fmt.Errorf("look for slug: %w", err)
		}
		if !taken {
			return slug, nil
		}
		if asked != "" {
			return "", fault.New(fault.Conflict, "there is already a stack %q", asked).Named("slug").
				WithHint("choose another slug")
		}
	}
}
