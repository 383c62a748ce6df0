# A small shop, for a recording: a web server that crashes, a worker that leaks, a job that fails.
use strict;
use IO::Socket::INET;
my ($role) = @ARGV;
if (!defined $role) {
    my %kept; my $end = time + 16;
    my $begin = sub {
        my ($name) = @_;
        my $pid = fork // die;
        if (!$pid) { exec "/opt/shop/bin/$name", $0, $name or die }
        $kept{$pid} = $name;
    };
    sleep 1;
    $begin->($_) for qw(web worker job);
    while (time < $end && (my $pid = wait) > 0) {
        my $name = delete $kept{$pid} or next;
        select undef, undef, undef, 0.3;
        $begin->($name) if time < $end;
    }
    kill TERM => keys %kept;
    1 while wait > 0;
} elsif ($role eq 'web') {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1:18080', Listen => 8, ReuseAddr => 1) or die;
    sleep 3;
    kill SEGV => $$;
    sleep 9;
} elsif ($role eq 'worker') {
    my @held;
    for (1 .. 60) { push @held, 'x' x (1 << 20); select undef, undef, undef, 0.1 }
    sleep 60;
} elsif ($role eq 'job') {
    sleep 2;
    exit 3;
}
