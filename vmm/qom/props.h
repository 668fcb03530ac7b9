/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The properties of types and of nodes of the tree, in QMP's shapes. Main thread. */
#ifndef VMM_QOM_PROPS_H
#define VMM_QOM_PROPS_H

#include <json-c/json.h>
#include "vmm/qom/tree.h"
#include "vmm/qom/types.h"

/* A list of ObjectPropertyInfo; new references. `settable` leaves out what every object has
 * (device-list-properties). */
json_object *qom_type_properties(const QomType *type, bool settable);
json_object *qom_node_properties(const QomNode *node); /* and children, "child<TYPE>" */

/* The value, a new reference; children and links are paths. NULL and error. */
json_object *qom_node_get(const QomNode *node, const char *name, GError **error);
bool qom_node_set(const QomNode *node, const char *name, json_object *value, GError **error);

#endif
