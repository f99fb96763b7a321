// Package broker is the embedded MQTT broker. It carries hints alone: "look
// again" on <namespace>/readonly/<pool>/<worker>, and signs of life on
// <namespace>/writeonly/<pool>/<worker>. Nothing depends on a message: losing all
// of them makes the installation slower, not wrong.
//
// A launcher shows a certificate that our own CA has issued: CN is its worker id,
// OU its pool. It may read its one topic and write its other one, nothing else,
// and its client id must begin with its worker id, since a broker lets the newer
// of two equal client ids push the older one out. There are no sessions, no
// retained messages, no wills and no quality of service but 0, so the broker keeps
// nothing on disk and little in memory.
package broker
