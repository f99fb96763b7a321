package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/version"
)

// Exit codes.
const (
	ok     = 0
	failed = 1
	usage  = 2
)

// Process is what a command sees of the process it runs in.
type Process struct {
	Args    []string // without the program's name
	Environ []string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
}

// env returns the value of an environment variable, or "".
func (p Process) env(name string) string {
	for _, pair := range p.Environ {
		if value, found := strings.CutPrefix(pair, name+"="); found {
			return value
		}
	}
	return ""
}

// commands is the whole command line.
type commands struct {
	Server serverCommand `cmd:"" help:"Run the mothership."`
	APIKey struct {
		Create apiKeyCreate `cmd:"" help:"Make an API key in the data directory, also while a server runs on it. Prints JSON."`
	} `cmd:"" name:"apikey" help:"API keys."`
	Pool struct {
		Create poolCreate `cmd:"" help:"Make a worker pool from a signing request. Prints its token."`
	} `cmd:"" help:"Worker pools."`
	State struct {
		Export stateExport `cmd:"" help:"Print a managed state from the data directory, also while a server runs on it."`
	} `cmd:"" help:"States of stacks."`
	VCS struct {
		Set    vcsSet    `cmd:"" help:"Make or change an integration. Prints it as JSON, without its secret."`
		List   vcsList   `cmd:"" help:"Print the integrations as JSON, one a line."`
		Delete vcsDelete `cmd:"" help:"Remove an integration that no stack names."`
	} `cmd:"" name:"vcs" help:"VCS integrations: what opens private repositories."`
	Quickstart quickstartCommand `cmd:"" help:"Plan and apply a small configuration on two private workers of this machine."`
	Version    versionCommand    `cmd:"" help:"Print the release."`
}

// exit ends parsing early: help was printed.
type exit int

// Main runs the command that p's arguments name and returns the exit code.
func Main(ctx context.Context, p Process) (code int) {
	defer func() {
		// kong ends the program from within once it has printed help.
		if early, is := recover().(exit); is {
			code = int(early)
		}
	}()
	var c commands
	parser, err := kong.New(&c,
		kong.Name("spaceport"),
		kong.Description("Runs infrastructure as code on workers that you own."),
		kong.Writers(p.Stdout, p.Stderr),
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(p),
	)
	if err != nil {
		return report(p, err)
	}
	chosen, err := parser.Parse(words(p.Args))
	if err != nil {
		return report(p, misuse{misread(err)})
	}
	return report(p, chosen.Run())
}

// words are the arguments, with what people try first in the place of what it
// means.
func words(args []string) []string {
	if len(args) == 1 {
		switch args[0] {
		case "help":
			return []string{"--help"}
		case "--version":
			return []string{"version"}
		}
	}
	return args
}

// misread says what is wrong with the arguments and which help says how it is
// right: that of the command, as far as it was understood.
func misread(err error) error {
	sentence, help := err.Error(), "spaceport --help"
	var parse *kong.ParseError
	if errors.As(err, &parse) {
		if node := parse.Context.Selected(); node != nil {
			help = "spaceport " + node.Path() + " --help"
		} else if path := parse.Context.Path; len(path) > 0 && path[len(path)-1].Node() != nil {
			help = strings.TrimSpace("spaceport "+path[len(path)-1].Node().Path()) + " --help"
		}
	}
	if flag, _, cut := strings.Cut(sentence, `: expected `); cut && strings.HasSuffix(sentence, "(<EOL>)") {
		sentence = flag + " needs a value"
	}
	return fault.New(fault.Invalid, "%s", sentence).WithHint("%s says what there is", help)
}

// misuse marks an error of how a command was called.
type misuse struct{ error }

// Unwrap returns the error itself.
func (m misuse) Unwrap() error { return m.error }

// report prints err as people read it and returns the exit code.
func report(p Process, err error) int {
	if err == nil {
		return ok
	}
	sentence := err.Error()
	if f := fault.As(err); f != nil {
		sentence = f.Error() // without what the log alone should keep
	}
	_, _ = fmt.Fprintf(p.Stderr, "spaceport: %s\n", line(sentence))
	if errors.As(err, &misuse{}) {
		return usage
	}
	return failed
}

// line is text as one line that does nothing to a terminal: a server's answer or
// the name of a file may be in it.
func line(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.TrimSpace(text))
}

type versionCommand struct{}

// Run prints the release.
func (versionCommand) Run(p Process) error {
	_, err := fmt.Fprintln(p.Stdout, version.String())
	return err
}
