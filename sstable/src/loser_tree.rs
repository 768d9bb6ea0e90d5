//! [`LoserTree`]: which of several players is first, asked again and again while the first one changes.

/// A tournament of `n` players, numbered from 0. Each match is a node that keeps its loser; the winner
/// goes up. When the winner has changed, only the matches on its way up are played again: at most
/// ⌈log₂ n⌉ of them, each against a known opponent.
///
/// Player `p` comes in at the parent of node `n + p`; the parent of node `i` is `i / 2`; node 0 holds
/// the winner of all.
///
/// Source: Knuth, "The Art of Computer Programming", volume 3, section 5.4.1, "A tree of losers".
#[derive(Clone, Debug, Default)]
pub(crate) struct LoserTree {
    nodes: Vec<usize>,
}

impl LoserTree {
    /// Plays all matches of `players` players; `beats(a, b)` is true if `a` is before `b`.
    pub(crate) fn rebuild(&mut self, players: usize, mut beats: impl FnMut(usize, usize) -> bool) {
        const NOBODY: usize = usize::MAX;
        self.nodes.clear();
        self.nodes.resize(players, NOBODY);
        for player in 0..players {
            let mut player = player;
            let mut at = parent(players + player);
            // Whoever comes first to a match waits there for the other one.
            while let Some(node) = self.nodes.get_mut(at) {
                if at == 0 || *node == NOBODY {
                    *node = player;
                    break;
                }
                if !beats(player, *node) {
                    std::mem::swap(node, &mut player);
                }
                at = parent(at);
            }
        }
    }

    /// Plays the matches of the winner again, which has changed.
    #[inline]
    pub(crate) fn replay(&mut self, mut beats: impl FnMut(usize, usize) -> bool) {
        let Some(mut player) = self.winner() else {
            return;
        };
        let mut at = parent(self.nodes.len() + player);
        while at > 0
            && let Some(node) = self.nodes.get_mut(at)
        {
            if !beats(player, *node) {
                std::mem::swap(node, &mut player);
            }
            at = parent(at);
        }
        if let Some(node) = self.nodes.first_mut() {
            *node = player;
        }
    }

    /// The first of all players; `None` if there is none.
    #[inline]
    pub(crate) fn winner(&self) -> Option<usize> {
        self.nodes.first().copied()
    }
}

fn parent(node: usize) -> usize {
    node / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the smallest number of all lists, again and again.
    fn merge(mut lists: Vec<Vec<u32>>) -> Vec<u32> {
        for list in &mut lists {
            list.reverse();
        }
        let mut merged = Vec::new();
        let mut tree = LoserTree::default();
        let beats = |lists: &[Vec<u32>], a: usize, b: usize| {
            let key = |p: usize| lists[p].last().map_or((1, 0, p), |value| (0, *value, p));
            key(a) < key(b)
        };
        tree.rebuild(lists.len(), |a, b| beats(&lists, a, b));
        while let Some(next) = tree.winner().and_then(|winner| lists[winner].pop()) {
            merged.push(next);
            tree.replay(|a, b| beats(&lists, a, b));
        }
        merged
    }

    #[test]
    fn any_number_of_players_comes_out_in_order() {
        for players in 0..20 {
            let list = |p: u32| (0..p % 5).map(|n| n * 7 + p * 3).collect();
            let lists: Vec<Vec<u32>> = (0..players).map(list).collect();
            let mut expected = lists.concat();
            expected.sort_unstable();
            assert_eq!(merge(lists), expected, "{players} players");
        }
    }

    #[test]
    fn a_change_of_the_winner_is_a_match_on_each_storey() {
        let mut tree = LoserTree::default();
        tree.rebuild(8, |a, b| a < b);
        let mut matches = 0;
        tree.replay(|a, b| {
            matches += 1;
            a < b
        });
        assert_eq!(matches, 3);
    }
}
