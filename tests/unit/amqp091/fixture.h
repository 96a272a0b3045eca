/** A broker with the AMQP front end on a loop of the test, without store, network or threads, and a client on a socketpair that
 *  writes and reads raw frames. Each wait has a deadline and turns the loop. */
#ifndef SLC_TEST_AMQP091_FIXTURE_H
#define SLC_TEST_AMQP091_FIXTURE_H

#include "amqp091/amqp091.h"
#include "wire/amqp_frame.h"
#include "wire/amqp_method.h"
#include "wire/amqp_props.h"

typedef struct fixture {
    uv_loop_t loop;
    slc_net *net;
    slc_broker *broker;
    slc_auth *auth;
    slc_amqp_server *server;
} fixture;

extern fixture fx;

/** settings NULL: heartbeat 60, channel_max 2047, frame_max 131072, messages up to 100,000 octets. */
void fixture_start(const slc_amqp_settings *settings);
void fixture_stop(void);
/** One turn of the loop as the daemon drives it. */
void fixture_turn(void);

typedef struct client {
    int fd;
    uint8_t *in;
    size_t in_bytes, in_cap;
    size_t taken; // octets of the frame given out last
    bool eof;
    // of the frame given out last
    uint8_t type;
    uint16_t channel;
    slc_slice payload;
    slc_amqp_method method; // when it is a method
} client;

/** Connected; nothing was sent. */
client *client_new(void);
void client_free(client *c);
/** Connected, logged in as guest, vhost open, with all capabilities; frame_max 0: the server's. */
client *client_open(uint32_t frame_max);
void client_send_bytes(client *c, const void *data, size_t bytes);
void client_send(client *c, uint16_t channel, const slc_amqp_method *method);
void client_send_frame(client *c, uint8_t type, uint16_t channel, slc_slice payload);
/** Header and body frames. */
void client_send_content(client *c, uint16_t channel, const slc_amqp_props *props, slc_slice body,
                         size_t frame_body_max);
/** The next frame; false: end of stream. */
bool client_frame(client *c);
/** The next frame has to be this method on that channel. */
const slc_amqp_method *client_expect(client *c, uint16_t channel, uint32_t id);
/** Nothing comes in a few turns. */
bool client_quiet(client *c);
void client_expect_eof(client *c);
void client_channel(client *c, uint16_t channel);
void client_queue(client *c, uint16_t channel, const char *name);
void client_publish(client *c, uint16_t channel, const char *queue, const slc_amqp_props *props,
                    slc_slice body);
/** basic.get with no-ack: the body's octets (to be freed), NULL when the queue is empty. Checks the frames' sizes. */
uint8_t *client_get(client *c, uint16_t channel, const char *queue, size_t frame_body_max,
                    size_t *bytes);

#endif
