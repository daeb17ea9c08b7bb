/* _TaskOwnerBase: what task groups and supervisors do for each of their tasks.
   Lib/asyncio/supervisors.py has the same in Python, and the rest.  */

#ifndef Py_BUILD_CORE_BUILTIN
#  define Py_BUILD_CORE_MODULE 1
#endif

#include "Python.h"
#include "structmember.h"
#include "owners.h"

/*[clinic input]
module _asyncio
class _asyncio._TaskOwnerBase "OwnerObject *" "clinic_state()"
[clinic start generated code]*/
/*[clinic end generated code: output=da39a3ee5e6b4b0d input=5f6eba20bacaabf8]*/

/* _PyTaskOwnerBase has the same fields, and comments on them.  Each is a strong
   reference, or NULL before __init__().  */
typedef struct {
    PyObject_HEAD
    PyObject *name;
    PyObject *state;
    PyObject *loop;
    PyObject *host;
    PyObject *guard;
    PyObject *node;
    PyObject *tasks;        /* a set */
    PyObject *task_was_cancelled;
    PyObject *errors;
    PyObject *base_error;
    PyObject *cancelled_error;
    PyObject *cancel_called;
    PyObject *is_exiting;
    PyObject *wake;
    PyObject *owner_of_tasks;
    PyObject *task_callback;
    PyObject *returned;     /* a list, or None */
} OwnerObject;

#define FIELD(name, field) \
    {name, Py_T_OBJECT_EX, offsetof(OwnerObject, field), 0, NULL}
#define READONLY_FIELD(name, field) \
    {name, Py_T_OBJECT_EX, offsetof(OwnerObject, field), Py_READONLY, NULL}

static PyMemberDef owner_members[] = {
    FIELD("_name", name),
    FIELD("_state", state),
    FIELD("_loop", loop),
    FIELD("_host", host),
    FIELD("_guard", guard),
    FIELD("_node", node),
    READONLY_FIELD("_tasks", tasks),
    FIELD("_task_was_cancelled", task_was_cancelled),
    FIELD("_errors", errors),
    FIELD("_base_error", base_error),
    FIELD("_cancelled_error", cancelled_error),
    FIELD("_cancel_called", cancel_called),
    FIELD("_is_exiting", is_exiting),
    FIELD("_wake", wake),
    FIELD("_owner_of_tasks", owner_of_tasks),
    FIELD("_task_callback", task_callback),
    READONLY_FIELD("_returned", returned),
    {NULL}
};

static inline PyObject **
field_at(PyObject *self, const PyMemberDef *member)
{
    return (PyObject **)((char *)self + member->offset);
}

static inline PyObject *
module_of(OwnerObject *self)
{
    return asyncio_module_of((PyObject *)self);
}

/* Return a constant of the class; a strong reference, or NULL with an
   exception set.  */
static PyObject *
constant(OwnerObject *self, PyObject *name)
{
    PyObject *value = _PyType_LookupRef(Py_TYPE(self), name);
    if (value == NULL) {
        PyErr_Format(PyExc_TypeError, "%s has no %U",
                     Py_TYPE(self)->tp_name, name);
    }
    return value;
}

/* Return 1 if it is the constant, 0 if not, or -1.  */
static int
is_constant(OwnerObject *self, PyObject *value, PyObject *name)
{
    PyObject *wanted = constant(self, name);
    Py_XDECREF(wanted);
    return wanted == NULL ? -1 : value == wanted;
}

/* Return 1 if the attribute is None or False, 0 if not, or -1.  */
static int
is_unset(PyObject *object, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(object, name);
    Py_XDECREF(value);
    return value == NULL ? -1 : Py_IsNone(value) || Py_IsFalse(value);
}

#include "clinic/owners.c.h"

/*[clinic input]
_asyncio._TaskOwnerBase.__init__

    *
    name: object = None

What C does for a block that owns tasks.
[clinic start generated code]*/

static int
_asyncio__TaskOwnerBase___init___impl(OwnerObject *self, PyObject *name)
/*[clinic end generated code: output=6ea2350ccdd3179a input=77392a9cd9f7ed23]*/
{
    OwnerState *names = asyncio_owner_state(module_of(self));
    PyObject *state = constant(self, names->NEW);
    PyObject *tasks = PySet_New(NULL);
    name = Py_IsNone(name) ? Py_NewRef(name) : PyObject_Str(name);
    if (state == NULL || tasks == NULL || name == NULL) {
        Py_XDECREF(state);
        Py_XDECREF(tasks);
        Py_XDECREF(name);
        return -1;
    }
    for (PyMemberDef *member = owner_members; member->name; member++) {
        Py_XSETREF(*field_at((PyObject *)self, member), Py_NewRef(Py_None));
    }
    Py_SETREF(self->state, state);
    Py_SETREF(self->tasks, tasks);
    Py_SETREF(self->name, name);
    Py_SETREF(self->task_was_cancelled, Py_NewRef(Py_False));
    Py_SETREF(self->cancel_called, Py_NewRef(Py_False));
    Py_SETREF(self->is_exiting, Py_NewRef(Py_False));
    return 0;
}

/* Return a bound method of the loop that makes a task which begins in a later
   pass; NULL, perhaps without an exception, if there is none.  */
static PyObject *
plain_create(OwnerState *names, OwnerObject *self)
{
    if (self->loop == NULL || !Py_IsFalse(self->is_exiting)
        || is_constant(self, self->state, names->OPEN) < 1) {
        return NULL;
    }
    PyObject *loop = Py_NewRef(self->loop);
    PyObject *create = PyObject_GetAttr(loop, names->create_task);
    if (create != NULL
        && (!PyMethod_Check(create)
            || is_constant(self, PyMethod_GET_FUNCTION(create),
                           names->PLAIN_CREATE) < 1
            || is_unset(loop, names->task_factory) < 1
            || is_unset(loop, names->debug) < 1)) {
        Py_CLEAR(create);
    }
    Py_DECREF(loop);
    return create;
}

/* Call PySet_Add() or PySet_Discard(); a task may have an __eq__() that calls
   our __init__().  */
static int
change_tasks(OwnerObject *self, int (*change)(PyObject *, PyObject *),
             PyObject *task)
{
    PyObject *tasks = Py_NewRef(self->tasks);
    int res = change(tasks, task);
    Py_DECREF(tasks);
    return res;
}

/* Have the owner of the tasks schedule the callbacks of a new one.  */
static int
set_owner(OwnerState *names, OwnerObject *self, PyObject *task)
{
    PyObject *owner = Py_XNewRef(self->owner_of_tasks);
    if (is_none(owner)) {
        Py_XSETREF(owner, PyObject_GetAttr((PyObject *)self, names->inner));
        if (owner == NULL) {
            return -1;
        }
    }
    int res = 0;
    if (!asyncio_task_set_owner(module_of(self), task, owner)) {
        res = PyObject_SetAttr(task, names->asyncio_owner, owner);
        if (res < 0 && PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
            res = 0;
        }
    }
    Py_DECREF(owner);
    return res;
}

static int
check_init(OwnerObject *self)
{
    if (self->tasks == NULL) {
        PyErr_Format(PyExc_AttributeError,
                     "%s.__init__() has not been called",
                     Py_TYPE(self)->tp_name);
        return -1;
    }
    return 0;
}

/* With an exception set: forget what cannot tell of its end, a factory's None
   for instance, which would never be gone.  */
static void
forget_refused(OwnerObject *self, PyObject *task)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (change_tasks(self, PySet_Discard, task) < 0) {
        PyErr_Clear();
    }
    PyErr_SetRaisedException(exc);
}

/* Return the state in which a new task was noted: a strong reference, or NULL
   with an exception set.  */
static PyObject *
take(OwnerState *names, OwnerObject *self, PyObject *task)
{
    if (check_init(self) < 0 || set_owner(names, self, task) < 0) {
        return NULL;
    }
    PyObject *callback = Py_XNewRef(self->task_callback);
    if (is_none(callback)) {
        Py_XSETREF(callback, PyObject_GetAttr((PyObject *)self,
                                              names->on_task_done));
        if (callback == NULL) {
            return NULL;
        }
    }
    // Nothing is called between these: who aborts later finds the task.
    PyObject *state = Py_NewRef(self->state == NULL ? Py_None : self->state);
    int res = change_tasks(self, PySet_Add, task);
    if (res == 0) {
        res = call_and_forget(PyObject_CallMethodOneArg(
            task, names->add_done_callback, callback));
        if (res < 0) {
            forget_refused(self, task);
        }
    }
    Py_DECREF(callback);
    if (res < 0) {
        Py_CLEAR(state);
    }
    return state;
}

/* Let the scopes around the block reach a new task.  */
static int
put_below(OwnerState *names, OwnerObject *self, PyObject *task)
{
    if (is_none(self->node)) {
        return 0;
    }
    PyObject *node = Py_NewRef(self->node);
    int res = call_and_forget(PyObject_CallMethodOneArg(node, names->adopt,
                                                        task));
    Py_DECREF(node);
    return res;
}

/*[clinic input]
_asyncio._TaskOwnerBase._take

    task: object
    /

Note a new task, and hear of its end; return our state then.
[clinic start generated code]*/

static PyObject *
_asyncio__TaskOwnerBase__take(OwnerObject *self, PyObject *task)
/*[clinic end generated code: output=59f1b8c13c7e9d55 input=4b517233cdd415ab]*/
{
    return take(asyncio_owner_state(module_of(self)), self, task);
}

/* Take a task that plain_create() has made; who was called meanwhile, a
   finalizer for instance, may have aborted the block.  */
static int
take_new(OwnerState *names, OwnerObject *self, PyObject *task)
{
    PyObject *state = take(names, self, task);
    if (state == NULL) {
        return -1;
    }
    int is_open = is_constant(self, state, names->OPEN);
    Py_DECREF(state);
    if (is_open < 0 || put_below(names, self, task) < 0) {
        return -1;
    }
    return is_open ? 0 : call_and_forget(PyObject_CallMethodOneArg(
        (PyObject *)self, names->release_late, task));
}

/* Ask if there is just a coroutine, or a name with it.  */
static int
is_plain_call(OwnerState *names, Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs != 1) {
        return 0;
    }
    return (kwnames == NULL || PyTuple_GET_SIZE(kwnames) == 0
            || (PyTuple_GET_SIZE(kwnames) == 1
                && PyTuple_GET_ITEM(kwnames, 0) == names->name));
}

PyDoc_STRVAR(create_task_doc,
"create_task($self, coro, **kwargs)\n--\n\n"
"Start a task that is owned; return it.\n\n"
"The keyword arguments are those of asyncio.create_task().  A refusal\n"
"raises RuntimeError, and closes *coro*.");

static PyObject *
owner_create_task(OwnerObject *self, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    OwnerState *names = asyncio_owner_state(module_of(self));
    PyObject *create = NULL;
    if (is_plain_call(names, nargs, kwnames)) {
        create = plain_create(names, self);
    }
    if (create == NULL) {
        PyObject *carefully = NULL;
        if (!PyErr_Occurred()) {
            carefully = PyObject_GetAttr((PyObject *)self,
                                         names->create_carefully);
        }
        if (carefully == NULL) {
            return NULL;
        }
        PyObject *task = PyObject_Vectorcall(carefully, args, nargs, kwnames);
        Py_DECREF(carefully);
        return task;
    }
    PyObject *task = PyObject_Vectorcall(create, args, nargs, kwnames);
    Py_DECREF(create);
    if (task != NULL && take_new(names, self, task) < 0) {
        Py_CLEAR(task);
    }
    return task;
}

/*[clinic input]
_asyncio._TaskOwnerBase._note_return

    task: object
    /

A task has ended; return true if nothing is to be called for it.

Of tasks that return in one pass, only the first has its callback scheduled.
[clinic start generated code]*/

static PyObject *
_asyncio__TaskOwnerBase__note_return(OwnerObject *self, PyObject *task)
/*[clinic end generated code: output=334e00ec26136276 input=e4e17d5688f3058e]*/
{
    if (asyncio_task_end(module_of(self), task) != TASK_RETURNED) {
        Py_RETURN_FALSE;
    }
    if (is_none(self->returned)) {
        PyObject *returned = PyList_New(0);
        if (returned == NULL) {
            return NULL;
        }
        Py_XSETREF(self->returned, returned);
        Py_RETURN_FALSE;
    }
    if (PyList_Append(self->returned, task) < 0) {
        return NULL;
    }
    Py_RETURN_TRUE;
}

/* Forget the tasks of which no other call will tell.  */
static int
forget_returned(OwnerObject *self)
{
    if (is_none(self->returned)) {
        return 0;
    }
    PyObject *returned = self->returned;
    self->returned = Py_NewRef(Py_None);
    int res = 0;
    for (Py_ssize_t i = 0; res == 0 && i < PyList_GET_SIZE(returned); i++) {
        PyObject *task = PyList_GET_ITEM(returned, i);
        if (change_tasks(self, PySet_Discard, task) < 0) {
            res = -1;
        }
    }
    Py_DECREF(returned);
    return res;
}

/*[clinic input]
_asyncio._TaskOwnerBase._on_task_done

    task: object
    /

[clinic start generated code]*/

static PyObject *
_asyncio__TaskOwnerBase__on_task_done(OwnerObject *self, PyObject *task)
/*[clinic end generated code: output=76ab105b22cb5e08 input=3449575223f2717c]*/
{
    PyObject *module = module_of(self);
    OwnerState *names = asyncio_owner_state(module);
    if (check_init(self) < 0 || change_tasks(self, PySet_Discard, task) < 0
        || forget_returned(self) < 0) {
        return NULL;
    }
    if (PySet_GET_SIZE(self->tasks) == 0 && !is_none(self->wake)
        && call_and_forget(PyObject_CallMethodNoArgs(
               (PyObject *)self, names->changed)) < 0) {
        return NULL;
    }
    switch (asyncio_task_end(module, task)) {
    case TASK_RETURNED:
        Py_RETURN_NONE;
    case TASK_CANCELLED:
        Py_XSETREF(self->task_was_cancelled, Py_NewRef(Py_True));
        Py_RETURN_NONE;
    default:
        return PyObject_CallMethodOneArg((PyObject *)self, names->task_ended,
                                         task);
    }
}

static int
owner_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    for (PyMemberDef *member = owner_members; member->name; member++) {
        Py_VISIT(*field_at(op, member));
    }
    return 0;
}

static int
owner_clear(PyObject *op)
{
    for (PyMemberDef *member = owner_members; member->name; member++) {
        Py_CLEAR(*field_at(op, member));
    }
    return 0;
}

static void
owner_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    owner_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef owner_methods[] = {
    {"create_task", _PyCFunction_CAST(owner_create_task),
     METH_FASTCALL | METH_KEYWORDS, create_task_doc},
    _ASYNCIO__TASKOWNERBASE__TAKE_METHODDEF
    _ASYNCIO__TASKOWNERBASE__NOTE_RETURN_METHODDEF
    _ASYNCIO__TASKOWNERBASE__ON_TASK_DONE_METHODDEF
    {NULL, NULL}
};

static PyType_Slot owner_slots[] = {
    {Py_tp_doc, (void *)_asyncio__TaskOwnerBase___init____doc__},
    {Py_tp_init, _asyncio__TaskOwnerBase___init__},
    {Py_tp_dealloc, owner_dealloc},
    {Py_tp_traverse, owner_traverse},
    {Py_tp_clear, owner_clear},
    {Py_tp_methods, owner_methods},
    {Py_tp_members, owner_members},
    {0, NULL},
};

static PyType_Spec owner_spec = {
    .name = "_asyncio._TaskOwnerBase",
    .basicsize = sizeof(OwnerObject),
    .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE
              | Py_TPFLAGS_IMMUTABLETYPE),
    .slots = owner_slots,
};

/* --- The state --- */

/* Each field of the state with its text.  */
#define NAME(field, text) {offsetof(OwnerState, field), text}

static const struct {
    size_t offset;
    const char *text;
} interned[] = {
    NAME(NEW, "_NEW"),
    NAME(OPEN, "_OPEN"),
    NAME(PLAIN_CREATE, "_PLAIN_CREATE"),
    NAME(add_done_callback, "add_done_callback"),
    NAME(adopt, "adopt"),
    NAME(asyncio_owner, "_asyncio_owner"),
    NAME(changed, "_changed"),
    NAME(create_carefully, "_create_carefully"),
    NAME(create_task, "create_task"),
    NAME(debug, "_debug"),
    NAME(inner, "_inner"),
    NAME(name, "name"),
    NAME(on_task_done, "_on_task_done"),
    NAME(release_late, "_release_late"),
    NAME(task_ended, "_task_ended"),
    NAME(task_factory, "_task_factory"),
};

static inline PyObject **
name_at(OwnerState *state, size_t i)
{
    return (PyObject **)((char *)state + interned[i].offset);
}

int
asyncio_owners_visit(OwnerState *state, visitproc visit, void *arg)
{
    for (size_t i = 0; i < Py_ARRAY_LENGTH(interned); i++) {
        Py_VISIT(*name_at(state, i));
    }
    return 0;
}

void
asyncio_owners_clear(OwnerState *state)
{
    for (size_t i = 0; i < Py_ARRAY_LENGTH(interned); i++) {
        Py_CLEAR(*name_at(state, i));
    }
}

int
asyncio_owners_init(PyObject *module, OwnerState *state)
{
    for (size_t i = 0; i < Py_ARRAY_LENGTH(interned); i++) {
        *name_at(state, i) = PyUnicode_InternFromString(interned[i].text);
        if (*name_at(state, i) == NULL) {
            return -1;
        }
    }
    PyTypeObject *type = asyncio_add_type(module, &owner_spec);
    Py_XDECREF(type);
    return type == NULL ? -1 : 0;
}
