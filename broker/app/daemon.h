/** sluiced: start, the turn of the loop, reload, stop. The only place where all parts meet.
 *
 *      options, settings ──> LOCK ──> recover ──> (vhost applied) ──> listeners open, READY ──> turns
 *        ──SIGTERM, SIGINT, shutdown command──> quiesce (in-flight confirms finish) ──> 320 to clients ──> marks ──> exit 0
 *
 *  Exit status: 0; 64 usage; 65 no usable backup (--restore); 70 internal; 71 system; 73 data directory cannot be made or is in
 *  use; 74 I/O error of the disk; 75 address in use; 78 configuration.  @spec operations 3
 */
#ifndef SLC_APP_DAEMON_H
#define SLC_APP_DAEMON_H

int slc_daemon_main(int argc, char **argv);

#endif
