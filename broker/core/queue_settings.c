#include "core/queue_settings.h"

void slc_queue_settings_changed(slc_queue *queue)
{
    (void)queue; // no setting of a queue comes from a policy yet
}
