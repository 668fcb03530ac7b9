
_vireo() {
    local line=${COMP_LINE:0:COMP_POINT} current= before= candidate cut IFS=$' \t\n'
    local -a words=()
    read -r -a words <<<"$line"
    case $line in
    *[[:space:]]) ;;
    *) current=${words[-1]} && unset 'words[-1]' ;;
    esac
    [ ${#words[@]} -gt 0 ] && before=${words[-1]}
    COMPREPLY=()
    while IFS= read -r candidate; do
        case $candidate in
        '@file '* | '@directory '*) _vireo_paths "$candidate" ;;
        "$current"*) COMPREPLY+=("$candidate") ;;
        esac
    done < <(_vireo_candidates "${words[0]}" "$before" "$current" "${words[@]}")
    case ${COMPREPLY[0]-} in
    *[=,.:/]) compopt -o nospace 2>/dev/null ;;
    esac
    # Readline sees what is behind the last '=' or ':', and mostly '@', as the word.
    case $COMP_WORDBREAKS in
    *@*) cut=${current%"${current##*[=:@]}"} ;;
    *) cut=${current%"${current##*[=:]}"} ;;
    esac
    COMPREPLY=("${COMPREPLY[@]#"$cut"}")
}

# "@file HEAD PART"
_vireo_paths() {
    local kind=${1%% *} rest=${1#* } path
    local head=${rest%% *} part=${rest#* }
    while IFS= read -r path; do
        [ -d "$path" ] && path=$path/
        COMPREPLY+=("$head$path")
    done < <(compgen $([ "$kind" = @file ] && echo -f || echo -d) -- "$part")
}

complete -F _vireo vireo
