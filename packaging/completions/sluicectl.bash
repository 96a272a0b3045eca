# bash completion for sluicectl. The program itself knows its commands, options and columns, and asks the
# broker for names; it answers within 0.3 s and says nothing when it cannot.
_sluicectl()
{
    local line
    COMPREPLY=()
    [[ " ${COMP_WORDS[*]:1:COMP_CWORD-1} " == *" backup "* ]] && compopt -o dirnames
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _sluicectl sluicectl
