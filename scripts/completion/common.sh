#compdef vireo
# Made from vireo's tables of options (vmm/cli/options.c) and commands (vmm/client/client.c) by
# scripts/gen-completion.c.
# SPDX-License-Identifier: GPL-2.0-or-later

@OPTIONS@

# The names that "vireo $2 help" lists, and their aliases.
_vireo_names() {
    case $2 in
    -device | -global)
        "$1" -device help 2>/dev/null |
            sed -n -e 's/^name "\([^"]*\)".* alias "\([^"]*\)".*/\1\n\2/p;t' \
                -e 's/^name "\([^"]*\)".*/\1/p' ;;
    -machine) "$1" -machine help 2>/dev/null | sed -n '2,$s/ .*//p' ;;
    -cpu) "$1" -cpu help 2>/dev/null | sed -n 's/^x86 \([^ ]*\).*/\1/p' ;;
    *) "$1" "$2" help 2>/dev/null | sed -n 's/^  \([^ ]*\) .*/\1/p' ;;
    esac
}

# The properties that "vireo $2 $3,help" lists, as KEY=VALUE, or KEY= when any value will do.
_vireo_properties() {
    "$1" "$2" "$3,help" 2>/dev/null | sed -n 's/^  \([^ =]*\)=<\([^>]*\)>.*/\1 \2/p' |
        while read -r key type; do
            case $type in
            bool) printf '%s=on\n%s=off\n' "$key" "$key" ;;
            OnOffAuto) printf '%s=on\n%s=off\n%s=auto\n' "$key" "$key" "$key" ;;
            *'|'*) printf '%s\n' "$type" | tr '|' '\n' | sed "s/^/$key=/" ;;
            *) printf '%s=\n' "$key" ;;
            esac
        done
}

_vireo_prefix() {
    local line=
    while IFS= read -r line; do
        printf '%s\n' "$1$line"
    done
}

# What options earlier on the line are called: the values of a key ($1, "id=") of an option ($2).
_vireo_ids() {
    local key=$1 option=$2 before= word=
    shift 2
    for word in "$@"; do
        if [ "$before" = "$option" ]; then
            printf '%s\n' "$word" | tr ',' '\n' | sed -n "s/^$key//p"
        fi
        before=$word
    done
}

# Values of a key ($1) that name something: a file, or what another option has made.
_vireo_values() {
    local key=$1 head=$2 value=$3
    shift 3
    case $key in
    file | filename | path | romfile | splash | kernel | initrd | firmware | mem-path | script | \
        downscript | input-path | logfile | cert | tls-creds)
        printf '@file %s %s\n' "$head$key=" "$value" ;;
    drive) { _vireo_ids id= -drive "$@"; _vireo_ids node-name= -blockdev "$@"; } | _vireo_prefix "$head$key=" ;;
    netdev) _vireo_ids id= -netdev "$@" | _vireo_prefix "$head$key=" ;;
    chardev) _vireo_ids id= -chardev "$@" | _vireo_prefix "$head$key=" ;;
    tpmdev) _vireo_ids id= -tpmdev "$@" | _vireo_prefix "$head$key=" ;;
    iothread | memdev | memory-backend | rng | key-secret | throttle-group)
        _vireo_ids id= -object "$@" | _vireo_prefix "$head$key=" ;;
    esac
}

# What an option's argument can begin with, or go on with behind a comma.
_vireo_argument() {
    local program=$1 option=$2 current=$3 head= part=$3 first= kind= words=
    shift 3
    _vireo_option "$option"
    case $kind in
    file) printf '@file  %s\n' "$current" && return ;;
    directory) printf '@directory  %s\n' "$current" && return ;;
    chardev)
        printf '%s\n' stdio mon:stdio pty null none vc file: pipe: unix: tcp: udp: telnet: chardev:
        _vireo_ids id= -chardev "$@" | _vireo_prefix chardev:
        return ;;
    esac
    case $current in
    *,*)
        part=${current##*,}
        head=${current%"$part"}
        first=${current%%,*}
        first=${first#*=} ;;
    esac
    [ "$option" = -M ] && option=-machine
    case $option in
    -device | -machine | -object | -cpu)
        if [ -n "$head" ]; then
            words="$words $(_vireo_properties "$program" "$option" "$first")"
        else
            words="$words $(_vireo_names "$program" "$option")"
        fi ;;
    -netdev | -nic | -chardev | -tpmdev | -blockdev)
        [ -n "$head" ] || words="$words $(_vireo_names "$program" "$option")" ;;
    -drive) words="$words $(_vireo_names "$program" -blockdev | _vireo_prefix format=)" ;;
    -global)
        case $part in
        *.*) words=$(_vireo_properties "$program" -device "${part%%.*}" | _vireo_prefix "${part%%.*}.") ;;
        *) words="$words $(_vireo_names "$program" -device | sed 's/$/./')" ;;
        esac ;;
    esac
    [ -z "$words" ] || printf '%s\n' $words | _vireo_prefix "$head"
    case $part in
    *=*) _vireo_values "${part%%=*}" "$head" "${part#*=}" "$@" ;;
    esac
}

# Names of running machines, those that need no quotes.
_vireo_machines() {
    "$1" list 2>/dev/null | sed -n '2,$s/^\([[:alnum:]_.+-]*\) .*/\1/p'
}

# Whether the words behind a command have what it takes already; the current one is not counted.
_vireo_has_name() {
    local current=$1 words=$2 before= word=
    shift 4
    for word in "$@"; do
        case $word in
        -* | '' | "$current") ;;
        *) case " $words" in
            *" $before="*) ;;
            *) return 0 ;;
            esac ;;
        esac
        before=$word
    done
    return 1
}

# Behind "vireo COMMAND": values of the option before, else options, and names where there is none.
_vireo_command_words() {
    local program=$1 before=$2 current=$3 takes= words=
    shift 3
    _vireo_command "$2"
    case " $words" in
    *" $before="*)
        printf '%s\n' $words | sed -n "s/^$before=//p"
        return ;;
    esac
    if ! _vireo_has_name "$current" "$words" "$@"; then
        case $takes in
        command) printf '%s\n' $(_vireo_commands) ;;
        machine) _vireo_machines "$program" ;;
        user-machine)
            case $current in
            *@*) _vireo_machines "$program" | _vireo_prefix "${current%@*}@" ;;
            *) _vireo_machines "$program" ;;
            esac ;;
        esac
    elif [ "$takes" = user-machine ]; then
        return
    fi
    [ -z "$words" ] || printf '%s\n' $words
}

# One candidate for the current word a line; "@file HEAD PART": files that begin with PART, behind
# HEAD. $1 vireo, $2 the word before, $3 the word, then all words.
_vireo_candidates() {
    local program=$1 before=$2 current=$3 kind= words=
    shift 3
    case " $(_vireo_commands) " in
    *" ${2-} "*)
        if [ "$before" != "$1" ]; then
            _vireo_command_words "$program" "$before" "$current" "$@"
            return
        fi ;;
    esac
    _vireo_option "$before"
    case $kind in
    none | flag) ;;
    *) _vireo_argument "$program" "$before" "$current" "$@" && return ;;
    esac
    case $current in
    -*) printf '%s\n' $(_vireo_options) ;;
    *)
        [ "$before" != "$1" ] || printf '%s\n' $(_vireo_commands)
        printf '@file  %s\n' "$current" ;;
    esac
}
