// Package own gives a tree of a run directory to another user, or empties it. A
// launcher that is root does so itself; for any other, a container of the engine
// does. It links little, since it is part of the worker's binary.
package own
