# Runs in the VM, with the host's folder at /host and a folder to write to at /out.
export PATH=/host/bin:$PATH
echo '== keyface board probe'
keyface board probe
vm_checks $(cat /host/parts)
code=$?
dmesg | grep -E 'WARNING|BUG|Oops' && code=1
exit $code
