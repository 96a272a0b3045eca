/** Inside the settings: what the files settings*.c share.
 *
 *      settings_table.h    THE table: one line a key
 *      settings_keys.c     the table as slc_config wants it; RabbitMQ's keys that have no effect, and why
 *      settings_sources.c  where values come from: files, conf.d, environment
 *      settings_check.c    rules across keys
 *      settings_fill.c     the values become slc_settings
 *      settings_log.c      the same for log.*, and their rules
 *      settings_man.c      sluice.conf(5) and the sample file, from the table
 *      settings.c          load and free, and the questions that others ask
 *
 *  Thread: any, one at a time for one slc_config or slc_settings; the tables are const.
 */
#ifndef SLC_APP_SETTINGS_IMPL_H
#define SLC_APP_SETTINGS_IMPL_H

#include "app/settings.h"
#include "app/settings_table.h"

enum slc_settings_key {
#define SETTINGS_ENUM(id, ...) KEY_##id,
    SLC_SETTINGS_TABLE(SETTINGS_ENUM)
#undef SETTINGS_ENUM
        KEY_COUNT
};

/** Names and rules, indexed by enum slc_settings_key. */
extern const slc_config_key slc_settings_keys[KEY_COUNT];
extern const slc_config_table slc_settings_table;

/** Values of default_policies.operator.NAME, by the names they have in the policy. */
typedef struct slc_settings_seed_key {
    enum slc_settings_key key;
    const char *name;
} slc_settings_seed_key;
extern const slc_settings_seed_key slc_settings_seeds[SLC_SETTINGS_SEED_VALUES];

/** The main file, yours; NULL: nobody named one and there is none at the usual place. */
char *slc_settings_file(const slc_settings_sources *sources);
/** Read file (NULL: nothing) and the conf.d beside it. Mistakes are notes of config; slc_config_finish gives the first as the error. */
void slc_settings_read_files(slc_config *config, const char *file);
void slc_settings_read_environment(slc_config *config, const slc_settings_sources *sources);

/** What no key can know by itself; mistakes are notes of config. */
void slc_settings_check(slc_config *config);
/** settings->config is checked: everything else in settings is set from it. */
void slc_settings_fill(slc_settings *settings);
/** Takes text; it lives as long as settings. */
const char *slc_settings_own(slc_settings *settings, char *text);

void slc_settings_check_log(slc_config *config);
/** node_name is set. */
void slc_settings_fill_log(slc_settings *settings);

#endif
