// Package quickstart shows the whole of Spaceport on one machine.
//
// It is an orchestrator and nothing more: it starts the same `spaceport server`
// and `spacelift-launcher` that a customer would start, as child processes, and
// drives the server through its public GraphQL API with an API key. Whatever
// works here works by hand; docs/getting-started.md has the same story as
// commands.
//
// # The order of things
//
//	data ─► server ─► credentials ─► key ─► recovery ─► pool ─► backend ─► workers ─► repository ─► stack
//	                                                                                                  │
//	   finished ◄─ outputs ◄─ apply on the other worker ◄─ confirm ◄─ drain ◄─ plan on one worker ◄───┘
//
// Each step looks for what an earlier start left behind and goes on with it, so
// a second start reuses keys, pool, stack and state, and a run that was left
// waiting for a confirmation is taken up again.
//
// # Who owns what
//
// A family owns the child processes and stops them, launchers first, so that
// they can still sign off at the server. A child never outlives us: the kernel
// kills it when we are killed (see family.go).
//
// What the steps need of the outside is small and declared here: mothership is
// the API as the steps use it, engine the container engine, Reporter whoever
// watches. Tests put fakes in those places.
//
// # Secrets
//
// Keys, token and the API key's secret live in files of mode 0600 below the data
// directory (mode 0700) and reach children by their environment. They are never
// an argument of a process, since every user of a machine can read those.
package quickstart
