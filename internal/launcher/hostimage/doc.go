// Package hostimage makes a small runner image out of the files of this host: a
// shell, everyday utilities, the libraries they need and a user database. It is
// for places where no registry is at hand: tests, and the first look at Spaceport
// on a new machine. Nobody should run it in production.
//
// Only files that are world-readable parts of an installed system go in, and
// /etc/passwd is written anew, so nothing private of the host gets into an image.
package hostimage
