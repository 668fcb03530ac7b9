
_vireo() {
    local current=$PREFIX before=${words[CURRENT-1]} program=$words[1] candidate rest
    local -a whole open
    for candidate in "${(@f)$(emulate -L sh; _vireo_candidates "$program" "$before" "$current" "${words[@]}")}"; do
        case $candidate in
        '@file '* | '@directory '*)
            rest=${candidate#* }
            compset -P "${(b)rest%% *}"
            [[ $candidate = @file* ]] && _files || _files -/ ;;
        *[=,.:/]) open+=("$candidate") ;;
        ?*) whole+=("$candidate") ;;
        esac
    done
    compadd -Q -S '' -a open
    compadd -Q -a whole
}

_vireo "$@"
