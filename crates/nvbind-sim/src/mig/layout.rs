//! Layouts as people write them: `3g.40gb`, `3g.40gb:4`, `3g.40gb/1c/2c`, `3g.40gb/-`.

use super::{Activation, MigRefusal, compute_instance, find_profile, gpu_instance, refuse, set_mode};
use crate::Error;
use crate::state::State;

/// A GPU instance that is wanted, with its compute instances.
struct Wanted<'word> {
    /// Profile name.
    profile: &'word str,
    /// First memory slice, where it matters.
    start: Option<u32>,
    /// Compute slices of each compute instance; `None` for one that fills the GPU instance.
    compute: Option<Vec<u32>>,
}

impl<'word> Wanted<'word> {
    fn parse(gpu: usize, word: &'word str) -> Result<Self, Error> {
        let bad = |part: &str, form: &str| {
            let reason = format!("'{part}' in '{word}' is not {form}");
            refuse(gpu, MigRefusal::BadPlacement, reason)
        };
        let (head, parts) = word
            .split_once('/')
            .map_or((word, None), |(head, rest)| (head, Some(rest)));
        let (profile, start) = head.split_once(':').map_or((head, None), |(name, at)| (name, Some(at)));
        let memory_slice = |at: &str| at.parse().map_err(|_| bad(at, "a memory slice: write it as 3g.40gb:4"));
        let start = start.map(memory_slice).transpose()?;
        let slices = |part: &str| {
            let number = part.strip_suffix('c').and_then(|number| number.parse().ok());
            number.ok_or_else(|| bad(part, "a compute instance: write it as 3g.40gb/1c/2c"))
        };
        let compute = match parts {
            None => None,
            Some("-") => Some(Vec::new()),
            Some(parts) => Some(parts.split('/').map(slices).collect::<Result<Vec<u32>, Error>>()?),
        };
        Ok(Self {
            profile,
            start,
            compute,
        })
    }
}

/// Cuts the GPU anew: whatever instances there are go, MIG mode is on, the wanted ones are made.
pub(crate) fn layout(state: &mut State, gpu: usize, words: &[&str]) -> Result<(), Error> {
    // A name that is wrong is told before anything goes.
    for word in words {
        find_profile(state, gpu, Wanted::parse(gpu, word)?.profile)?;
    }
    clear(state, gpu)?;
    switch(state, gpu, true)?;
    add(state, gpu, words)
}

/// Makes instances beside those that there are.
pub(crate) fn add(state: &mut State, gpu: usize, words: &[&str]) -> Result<(), Error> {
    let parsed = words.iter().map(|word| Wanted::parse(gpu, word));
    let mut wanted = parsed.collect::<Result<Vec<Wanted<'_>>, Error>>()?;
    if state.gpus[gpu].mig.is_empty() && wanted.iter().all(|wanted| wanted.start.is_none()) {
        place(state, gpu, &mut wanted)?;
    }
    wanted.iter().try_for_each(|wanted| make(state, gpu, wanted))
}

/// Destroys every instance of the GPU.
pub(crate) fn clear(state: &mut State, gpu: usize) -> Result<(), Error> {
    let ids: Vec<u32> = state.gpus[gpu].mig.iter().map(|instance| instance.id).collect();
    ids.into_iter().try_for_each(|id| destroy_whole(state, gpu, id))
}

/// Destroys the instances that are named `GPU-INSTANCE` or `GPU-INSTANCE/COMPUTE-INSTANCE`.
pub(crate) fn remove(state: &mut State, gpu: usize, words: &[&str]) -> Result<(), Error> {
    for word in words {
        let number = |text: &str| {
            let bad = || {
                let reason = format!("'{word}' is no instance: write it as 2 (GPU instance) or 2/0 (compute instance)");
                refuse(gpu, MigRefusal::NotFound, reason)
            };
            text.parse::<u32>().map_err(|_| bad())
        };
        match word.split_once('/') {
            Some((parent, id)) => compute_instance::destroy(state, gpu, number(parent)?, number(id)?)?,
            None => destroy_whole(state, gpu, number(word)?)?,
        }
    }
    Ok(())
}

/// Switches MIG mode; a GPU that is in use keeps its mode.
pub(crate) fn switch(state: &mut State, gpu: usize, enabled: bool) -> Result<(), Error> {
    match set_mode(state, gpu, enabled)? {
        Activation::Done => Ok(()),
        Activation::Pending => Err(refuse(gpu, MigRefusal::InUse, "processes run on it: end them first")),
    }
}

/// A compute instance goes with its GPU instance.
fn destroy_whole(state: &mut State, gpu: usize, id: u32) -> Result<(), Error> {
    let compute = &gpu_instance::find(state, gpu, id)?.compute;
    let ids: Vec<u32> = compute.iter().map(|instance| instance.id).collect();
    ids.into_iter()
        .try_for_each(|compute| compute_instance::destroy(state, gpu, id, compute))?;
    gpu_instance::destroy(state, gpu, id)
}

/// Finds places so that all fit: made one after the other, small ones could take the only place of a large one.
fn place(state: &State, gpu: usize, wanted: &mut [Wanted<'_>]) -> Result<(), Error> {
    let find = |wanted: &Wanted<'_>| find_profile(state, gpu, wanted.profile);
    let profiles = wanted.iter().map(find).collect::<Result<Vec<_>, Error>>()?;
    let no_room = || {
        let names: Vec<&str> = wanted.iter().map(|wanted| wanted.profile).collect();
        let reason = format!("{} do not fit together", names.join(", "));
        refuse(gpu, MigRefusal::NoRoom, reason)
    };
    let starts = gpu_instance::place(&profiles).ok_or_else(no_room)?;
    for (wanted, start) in wanted.iter_mut().zip(starts) {
        wanted.start = Some(start);
    }
    Ok(())
}

fn make(state: &mut State, gpu: usize, wanted: &Wanted<'_>) -> Result<(), Error> {
    let id = gpu_instance::create(state, gpu, wanted.profile, wanted.start)?;
    let profiles = compute_instance::profiles_of(state, gpu, id)?;
    let whole = profiles.iter().map(|profile| profile.slices).max().unwrap_or_default();
    let sizes = wanted.compute.clone().unwrap_or_else(|| vec![whole]);
    for slices in sizes {
        let unknown = || {
            let reason = format!("{} has no compute instance of {slices} slices", wanted.profile);
            refuse(gpu, MigRefusal::NotSupported, reason)
        };
        let profile = profiles.iter().find(|profile| profile.slices == slices);
        compute_instance::create(state, gpu, id, profile.ok_or_else(unknown)?.id, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile;

    type Shape = Vec<(String, u32, usize)>;

    fn shape(state: &State) -> Shape {
        let instances = state.gpus[0].mig.iter();
        instances.map(|i| (i.profile.clone(), i.id, i.compute.len())).collect()
    }

    fn laid_out(words: &[&str]) -> Result<Shape, Error> {
        let mut state = State::new(profile::by_name("hgx-h100").unwrap());
        layout(&mut state, 0, words)?;
        Ok(shape(&state))
    }

    fn ids(words: &[&str]) -> Vec<u32> {
        laid_out(words).unwrap().into_iter().map(|(_, id, _)| id).collect()
    }

    #[test]
    fn the_order_does_not_matter() {
        assert_eq!(ids(&["7g.80gb"]), [0]);
        assert_eq!(ids(&["3g.40gb", "3g.40gb"]), [1, 2]);
        assert_eq!(ids(&["1g.10gb"; 7]), [7, 8, 9, 10, 11, 12, 13]);
        assert_eq!(ids(&["4g.40gb", "2g.20gb", "1g.10gb"]), [1, 5, 13]);
        assert_eq!(ids(&["1g.10gb", "2g.20gb", "4g.40gb"]), [1, 5, 13]);
    }

    #[test]
    fn places_and_compute_instances_can_be_told() {
        let shape = laid_out(&["1g.10gb:0", "3g.40gb:4/1c/2c"]).unwrap();
        assert_eq!(shape, [("3g.40gb".to_owned(), 2, 2), ("1g.10gb".to_owned(), 7, 1)]);
        assert_eq!(laid_out(&["2g.20gb/-"]).unwrap(), [("2g.20gb".to_owned(), 5, 0)]);
        for (word, said) in [
            ("3g.40gb:x", "'x' in '3g.40gb:x' is not a memory slice"),
            ("3g.40gb:2", "3g.40gb cannot begin at memory slice 2"),
            ("3g.40gb/", "'' in '3g.40gb/' is not a compute instance"),
            ("3g.40gb/2g", "'2g' in '3g.40gb/2g' is not a compute instance"),
            ("4g.40gb/3c", "4g.40gb has no compute instance of 3 slices"),
            ("3g.40gb/2c/2c", "2c.3g.40gb does not fit"),
            ("1g.5gb", "no profile '1g.5gb': use 1g.10gb"),
        ] {
            let error = laid_out(&[word]).unwrap_err().to_string();
            assert!(error.contains(said), "{word}: {error}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let message = |words: &[&str]| laid_out(words).unwrap_err().to_string();
        assert!(message(&["4g.40gb", "4g.40gb"]).contains("do not fit together"));
        assert!(message(&["1g.10gb"; 8]).contains("do not fit together"));
    }

    #[test]
    fn instances_come_and_go_beside_others() {
        let mut state = State::new(profile::by_name("hgx-h100").unwrap());
        layout(&mut state, 0, &["3g.40gb/1c/1c"]).unwrap();
        add(&mut state, 0, &["1g.10gb"]).unwrap();
        assert_eq!(
            shape(&state),
            [("3g.40gb".to_owned(), 2, 2), ("1g.10gb".to_owned(), 7, 1)]
        );
        remove(&mut state, 0, &["2/0", "7"]).unwrap();
        assert_eq!(shape(&state), [("3g.40gb".to_owned(), 2, 1)]);
        assert!(remove(&mut state, 0, &["two"]).is_err());
        assert!(remove(&mut state, 0, &["2/0"]).is_err());
        layout(&mut state, 0, &[]).unwrap();
        assert!(state.gpus[0].mig_enabled && state.gpus[0].mig.is_empty());
    }
}
